"""The protocol as an exhaustive model: every interleaving, and every ablation caught."""

import gc_model
import pytest


def test_quick_model_is_clean_and_catches_every_ablation(capsys: pytest.CaptureFixture[str]) -> None:
    assert gc_model.main(["--quick"]) == 0, capsys.readouterr().out
    assert "as expected" in capsys.readouterr().out


@pytest.mark.soak
def test_full_model_is_clean(request: pytest.FixtureRequest) -> None:
    if "soak" not in request.config.option.markexpr:
        pytest.skip("minutes long: run it with -m soak")
    assert gc_model.main([]) == 0
