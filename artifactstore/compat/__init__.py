"""Programs written for other artifact stores, run on this one."""
