"""The small pictures: read back with Pillow, pixel by pixel where it matters."""

import io

import numpy as np
import pytest
from PIL import Image

from cxg.compute import thumbnail

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def picture(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    assert image.mode == "P"
    assert image.size == (640, 480)
    return image.convert("RGB")


def colours(png: bytes) -> set[tuple[int, int, int]]:
    return {colour for _, colour in picture(png).getcolors(1 << 20)}


def places(*xy) -> np.ndarray:
    return np.array(xy, np.float32).reshape(-1, 2)


def test_cells_are_drawn_at_their_coordinates_with_y_upwards():
    image = picture(thumbnail.draw(places((0, 0), (1, 1)), np.array([0, 1]), ["#ff0000", "#0000ff"]))
    # The square of the data is as high as the picture less its margins, and centred.
    assert image.getpixel((320 - 216, 240 + 216)) == RED
    assert image.getpixel((320 + 216, 240 - 216)) == BLUE
    assert image.getpixel((320, 240)) == WHITE


def test_proportions_are_kept_and_the_width_is_used():
    image = picture(thumbnail.draw(places((0, 0), (10, 1)), np.zeros(2, int), ["#ff0000"]))
    assert image.getpixel((24, round(240 + 29.6))) == RED
    assert image.getpixel((616, round(240 - 29.6))) == RED


def test_edges_are_smooth():
    found = colours(thumbnail.draw(places((0, 0)), np.zeros(1, int), ["#ff0000"]))
    assert {RED, WHITE} < found
    assert all(red == 255 and green == blue for red, green, blue in found)


@pytest.mark.parametrize("code", [-1, 2, 255])
def test_a_cell_without_label_is_grey(code):
    assert (200, 200, 200) in colours(thumbnail.draw(places((0, 0)), np.array([code]), ["#ff0000", "#0000ff"]))


def test_cells_without_label_lie_below_the_others():
    codes = np.array([0] + [-1] * 300)
    png = thumbnail.draw(np.zeros((301, 2), np.float32), codes, ["#ff0000"])
    assert picture(png).getpixel((320, 240)) == RED


def test_unsigned_codes_are_accepted():
    png = thumbnail.draw(places((0, 0)), np.array([1], np.uint8), ["#ff0000", "#0000ff"])
    assert BLUE in colours(png)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_cells_without_coordinates_are_left_out(bad):
    whole = thumbnail.draw(places((0, 0), (1, 1)), np.array([0, 0]), ["#ff0000"])
    holed = thumbnail.draw(places((0, 0), (bad, 5), (1, 1), (7, bad)), np.array([0, 0, 0, 0]), ["#ff0000"])
    assert picture(holed).tobytes() == picture(whole).tobytes()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_no_cells_or_equal_coordinates_can_be_drawn(n):
    png = thumbnail.draw(np.full((n, 2), 3, np.float32), np.zeros(n, int), ["#ff0000"])
    assert (RED in colours(png)) == (n > 0)


def test_only_nan_gives_an_empty_picture():
    assert colours(thumbnail.draw(np.full((9, 2), np.nan, np.float32), np.zeros(9, int), ["#ff0000"])) == {WHITE}


def test_every_colour_of_many_labels_is_exact_and_the_file_is_small():
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 40, 20_000)
    xy = (rng.normal(size=(40, 2))[codes] + 0.1 * rng.normal(size=(20_000, 2))).astype(np.float32)
    palette = thumbnail.palette(40)
    png = thumbnail.draw(xy, codes, palette)
    assert {tuple(bytes.fromhex(colour[1:])) for colour in palette} <= colours(png)
    assert len(png) < 80_000


def test_the_same_cells_give_the_same_bytes():
    xy, codes = np.random.default_rng(1).random((500, 2), np.float32), np.arange(500) % 3
    assert thumbnail.draw(xy, codes, ["#ff0000"] * 3) == thumbnail.draw(xy, codes, ["#ff0000"] * 3)


def test_a_small_dataset_is_drawn_whole():
    assert thumbnail.sample_cells(5).tolist() == [0, 1, 2, 3, 4]
    assert thumbnail.sample_cells(0).tolist() == []


def test_a_large_dataset_is_sampled_evenly_and_always_equally():
    cells = thumbnail.sample_cells(1_000_000)
    assert len(cells) == 20_000
    assert (np.diff(cells) > 0).all()
    assert cells.max() < 1_000_000
    assert 480_000 < np.median(cells) < 520_000
    assert (cells == thumbnail.sample_cells(1_000_000)).all()


@pytest.mark.parametrize(
    "candidates, coloured, chosen",
    [
        ([], (), None),
        ([("batch", 1), ("barcode", 900)], (), None),
        ([("batch", 2), ("louvain", 8)], (), "louvain"),
        ([("cell_type_ontology_term_id", 5), ("cell_type", 5)], (), "cell_type"),
        ([("phase", 3), ("bulk_labels", 10), ("louvain", 11)], (), "bulk_labels"),
        ([("Cluster", 41), ("sex", 2)], (), "sex"),
        ([("sex", 2), ("seurat_clusters", 12)], (), "seurat_clusters"),
        ([("Cell Type", 9), ("leiden", 9)], (), "Cell Type"),
        ([("sex", 2), ("stage", 4)], ("stage",), "stage"),
        ([("donor_id", 4), ("stage", 4)], (), "stage"),
    ],
)
def test_the_most_informative_column_is_chosen(candidates, coloured, chosen):
    assert thumbnail.choose_column(candidates, coloured) == chosen


def test_colours_of_the_dataset_win_when_they_are_complete():
    assert thumbnail.label_colors(["a", 2], {"a": "#010203", "2": "#040506"}) == ["#010203", "#040506"]


@pytest.mark.parametrize("own", [None, {}, {"a": "#010203"}, {"a": "#010203", "b": "tomato"}])
def test_incomplete_or_odd_colours_are_replaced_together(own):
    assert thumbnail.label_colors(["a", "b"], own) == thumbnail.palette(2)


def test_the_palette_has_no_colour_twice():
    assert len(set(thumbnail.palette(40))) == 40
