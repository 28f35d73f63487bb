"""The libraries that people read their data with, each on a stored version as it lies."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from artifactstore.errors import VersionExpired
from artifactstore.filesystem.mounts import MOUNTS
from artifactstore.store import PushOptions, open_store
from artifactstore.testing.strategies import seeded_bytes

pandas = pytest.importorskip("pandas", reason="pandas is in the extra `test`")
numpy = pytest.importorskip("numpy", reason="numpy comes with pandas")
dataset = pytest.importorskip("pyarrow.dataset", reason="pyarrow is in the extra `test`")

ROWS = 100_000
PHOTO = seeded_bytes("photo", 64 * 48 * 3)
NOISE = seeded_bytes("libraries", 3_000_000)


@dataclass(frozen=True, slots=True)
class Pushed:
    url: str
    tree: Path
    table: Any

    @property
    def options(self) -> dict[str, Any]:
        return {"store": self.url}

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        return fsspec.filesystem("artifact", **self.options)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    place = tmp_path_factory.mktemp("libraries")
    tree = place / "tree"
    table = pandas.DataFrame({"number": range(ROWS), "value": numpy.random.default_rng(5).random(ROWS)})
    for year in (2025, 2026):
        (tree / "parts" / f"year={year}").mkdir(parents=True)
        table.to_parquet(tree / "parts" / f"year={year}" / "0.parquet")
    table.to_parquet(tree / "table.parquet", row_group_size=10_000)
    table.to_csv(tree / "table.csv", index=False)
    (tree / "noise").write_bytes(NOISE)
    with open_store(place / "store", state_path=place / "state") as store:
        store.push(tree, "sets/demo")
        yield Pushed(str(place / "store"), tree, table)
        MOUNTS.clear()


def push_more(pushed: Pushed, name: str) -> None:
    with open_store(pushed.url, state_path=pushed.tree.parent / "state") as store:
        store.push(pushed.tree.parent / name, name)


def test_pandas_reads_parquet_and_csv(pushed: Pushed) -> None:
    read = pandas.read_parquet("artifact://sets/demo:v1/table.parquet", storage_options=pushed.options)
    assert read.equals(pushed.table)
    some = pandas.read_parquet(
        "artifact://sets/demo:v1/table.parquet", columns=["value"], storage_options=pushed.options
    )
    assert some["value"].equals(pushed.table["value"])
    csv = pandas.read_csv("artifact://sets/demo:latest/table.csv", storage_options=pushed.options)
    assert csv["number"].equals(pushed.table["number"])


def test_pandas_reads_a_directory_of_parquet(pushed: Pushed) -> None:
    read = pandas.read_parquet("artifact://sets/demo:v1/parts", storage_options=pushed.options)
    assert read.shape == (2 * ROWS, 3)


def test_pyarrow_reads_a_partitioned_dataset(pushed: Pushed) -> None:
    parts = dataset.dataset("sets/demo:v1/parts", filesystem=pushed.fs, partitioning="hive")
    assert parts.count_rows(filter=dataset.field("year") == 2026) == ROWS
    found = parts.to_table(filter=(dataset.field("number") < 3) & (dataset.field("year") == 2025))
    assert found.column("number").to_pylist() == [0, 1, 2]


def test_zarr_reads_an_array_and_takes_no_failure_for_zeros(pushed: Pushed) -> None:
    zarr = pytest.importorskip("zarr", minversion="3", reason="zarr is in the extra `test`")
    place = pushed.tree.parent / "grid"
    values = numpy.random.default_rng(6).random((300, 300))
    array = zarr.create_array(store=place / "a", shape=values.shape, chunks=(100, 100), dtype="f8", fill_value=0)
    array[:] = values
    push_more(pushed, "grid")
    read = zarr.open_array("artifact://grid:v1/a", mode="r", storage_options=pushed.options)
    assert (read[:] == values).all()
    assert (read[150:160, 250:] == values[150:160, 250:]).all()
    with open_store(pushed.url, state_path=pushed.tree.parent / "state") as store:
        store.push(place, "short", options=PushOptions(ttl_seconds=0.001))
    with pytest.raises(VersionExpired):
        zarr.open_array("artifact://short:v1/a", mode="r", storage_options=pushed.options)


def test_pillow_opens_an_image(pushed: Pushed) -> None:
    image = pytest.importorskip("PIL.Image", reason="pillow is in the extra `test`")
    place = pushed.tree.parent / "images"
    place.mkdir()
    image.frombytes("RGB", (64, 48), PHOTO).save(place / "photo.png")
    push_more(pushed, "images")
    with pushed.fs.open("images:v1/photo.png") as file, image.open(file) as photo:
        assert photo.tobytes() == PHOTO


def test_duckdb_queries_parquet_and_csv(pushed: Pushed) -> None:
    duckdb = pytest.importorskip("duckdb", reason="duckdb is in the extra `test`")
    with duckdb.connect() as connection:
        connection.register_filesystem(pushed.fs)

        def answer(query: str) -> object:
            return connection.execute(query).fetchall()

        assert answer("select sum(number) from 'artifact://sets/demo:v1/table.parquet'") == [(ROWS * (ROWS - 1) // 2,)]
        assert answer("select count(*) from read_csv('artifact://sets/demo:v1/table.csv')") == [(ROWS,)]
        by_year = "select year, count(*) from read_parquet('artifact://sets/demo:v1/parts/*/*.parquet') group by 1"
        assert sorted(answer(by_year)) == [(2025, ROWS), (2026, ROWS)]  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of fsspec's MMapCache
@pytest.mark.parametrize("wrapper", ["filecache", "simplecache", "blockcache"])
def test_fsspec_wrappers_cache_its_files(pushed: Pushed, wrapper: str, tmp_path: Path) -> None:
    options = {"artifact": pushed.options, wrapper: {"cache_storage": str(tmp_path)}}
    for _ in range(2):
        with fsspec.open(f"{wrapper}::artifact://sets/demo:v1/noise", **options) as file:
            file.seek(2_345_678)
            assert file.read(1000) == NOISE[2_345_678:2_346_678]
            file.seek(0)
            assert file.read() == NOISE


def test_fsspec_opens_urls_and_maps(pushed: Pushed) -> None:
    with fsspec.open("artifact://sets/demo:v1/table.csv", "rt", **pushed.options) as text:
        assert text.readline() == "number,value\n"
    files = fsspec.open_files("artifact://sets/demo:v1/parts/*/*.parquet", **pushed.options)
    assert len(files) == 2
    mapper = pushed.fs.get_mapper("sets/demo:v1/parts")
    assert sorted(mapper) == ["year=2025/0.parquet", "year=2026/0.parquet"]
    assert mapper["year=2025/0.parquet"].startswith(b"PAR1")
    assert "none" not in mapper


def test_torch_loads_and_its_workers_read(pushed: Pushed) -> None:
    torch = pytest.importorskip("torch", reason="torch is large and not in the extra `test`: pip install torch")
    place = pushed.tree.parent / "model"
    place.mkdir()
    weights = {"weight": torch.randn(500, 500), "bias": torch.randn(10)}
    torch.save(weights, place / "model.pt")
    push_more(pushed, "model")
    with pushed.fs.open("model:v1/model.pt") as file:
        loaded = torch.load(file)
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    with fsspec.open("artifact://model:v1/model.pt", **pushed.options) as file:
        assert torch.equal(torch.load(file)["weight"], weights["weight"])


class Pieces:
    """A map-style dataset of pieces of a file: for torch, which asks for no base class."""

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str) -> None:
        self.fs, self.file = fs, fs.open(path)

    def __len__(self) -> int:
        return 64

    def __getitem__(self, number: int) -> int:
        self.file.seek(number * 40_000)
        piece = self.file.read(1000)
        assert piece == self.fs.cat_file(self.file.path, number * 40_000, number * 40_000 + 1000)
        return sum(piece)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_of_a_data_loader_read(pushed: Pushed, context: str) -> None:
    data = pytest.importorskip("torch.utils.data", reason="torch is large and not in the extra `test`")
    pieces = Pieces(pushed.fs, "sets/demo:v1/noise")
    expected = [sum(NOISE[number * 40_000 :][:1000]) for number in range(64)]
    assert [pieces[number] for number in range(64)] == expected
    loader = data.DataLoader(
        pieces, batch_size=8, num_workers=2 if context == "fork" else 1, multiprocessing_context=context
    )
    assert [int(number) for batch in loader for number in batch] == expected
    pieces.file.close()
