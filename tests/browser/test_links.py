"""Links that carry a view: opened, copied, followed back, below a prefix, after a login, with names that hurt addresses."""

from __future__ import annotations

import html
import re
import shutil
import urllib.parse

import pytest
from playwright.sync_api import expect

from tests import cxgs
from tests.browser import serving
from tests.browser.explorer import Explorer, share_of, view_of, wait_for_view

pytestmark = pytest.mark.browser

SAMPLE, ODD, LARGE = "d/pbmc68k_reduced.cxg/", "d/odd.cxg/", "d/large.cxg/"
NOTHING = "#aff05b"  # the client's colour for the lowest expression
TWO_LABELS = "color=bulk_labels&select=bulk_labels:CD14%2B+Monocyte,CD19%2B+B"
EVERYTHING = f"{TWO_LABELS}&labels=1&layout=pca&gene=CST3&gene=LYZ&scatter=CST3,LYZ&zoom=0.1,-0.2,1.5"
# A view of nothing; the embedding is always named here.
PLAIN = {
    "genes": [],
    "select": [],
    "genesets": [],
    "scatter": [],
    "markers": None,
    "color": None,
    "labels": False,
    "layout": "umap",
    "zoom": None,
}
LINK = """async () => {
  const links = await import(document.querySelector("script[type=module]").src.replace(/main\\.js$/, "links.js"));
  return links.linkOfView();
}"""
NO_CLIPBOARD = "Object.defineProperty(Navigator.prototype, 'clipboard', { get: () => undefined })"
NO_COPY = f"{NO_CLIPBOARD}; document.execCommand = () => false"


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A small dataset whose columns, labels and genes have names of every awkward kind, with gene sets; and a large one."""
    serving.require_built()
    root = tmp_path_factory.mktemp("odd")
    truth = cxgs.build(root / "odd.cxg", n_obs=400, genesets=True)
    cxgs.build(root / "large.cxg", n_obs=100_000, n_var=25)
    shutil.copytree(serving.SAMPLE, root / "pbmc68k_reduced.cxg")
    return truth


@pytest.fixture(scope="module")
def site(odd, tmp_path_factory):
    with serving.launched(odd.path.parent, tmp_path_factory.mktemp("site") / "log") as url:
        yield url


@pytest.fixture
def explorer(page):
    return Explorer(page)


def copied(page) -> str:
    """What the button copies, as pasted."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_contain_text("Link copied.")
    return page.evaluate("navigator.clipboard.readText()")


def notes(page):
    return page.locator(".cxg-note")


def test_a_link_shows_a_gene(explorer, site, screenshots):
    explorer.open(f"{site}{SAMPLE}?gene=CST3")
    explorer.at("histogram-CST3").wait_for()
    dots = explorer.wait_for_dots(lambda dots: share_of(dots, NOTHING) > 0.2)
    assert dots.size
    expect(explorer.at("colorby-CST3")).to_have_class(re.compile("active"))
    explorer.page.screenshot(path=screenshots / "link-gene.png")
    # Opening a link is no step that the back button could undo.
    assert explorer.page.evaluate("history.length") == 2
    assert explorer.page.url == f"{site}{SAMPLE}?gene=CST3"
    assert notes(explorer.page).count() == 0


def test_a_link_shows_everything_at_once(explorer, site, screenshots):
    explorer.open(f"{site}{SAMPLE}?{EVERYTHING}")
    page = explorer.page
    page.get_by_text("pca: 224 out of 700 cells").wait_for()
    explorer.at("scatterplot").wait_for()
    for gene in ("CST3", "LYZ"):
        explorer.at(f"histogram-{gene}").wait_for()
    expect(explorer.at("CD14+ Monocyte-centroid-label")).to_be_visible()
    view = wait_for_view(page, lambda view: view["zoom"] is not None)
    assert view["zoom"] == pytest.approx([0.1, -0.2, 1.5], abs=1e-4)
    assert view["scatter"] == ["CST3", "LYZ"]
    # The left panel agrees.
    explorer.expand("bulk_labels")
    boxes = page.locator("[data-testid^='categorical-value-select-bulk_labels-']")
    ticked = [box.get_attribute("data-testid") for box in boxes.all() if box.is_checked()]
    assert {name.removeprefix("categorical-value-select-bulk_labels-") for name in ticked} == {
        "CD14+ Monocyte",
        "CD19+ B",
    }
    assert explorer.at("bulk_labels:category-select").evaluate("box => box.indeterminate")
    page.screenshot(path=screenshots / "link-everything.png")
    # Ticking goes on from there.
    explorer.tick("bulk_labels", "CD19+ B", on=False)
    explorer.wait_for_cells(lambda some, _: some == 129)


def test_a_copied_link_shows_the_same_to_the_next_visitor(explorer, chromium, site, screenshots):
    explorer.open(f"{site}{SAMPLE}?from=mail")
    page = explorer.page
    explorer.color_by("bulk_labels")
    explorer.at("centroid-label-toggle").click()
    explorer.expand("bulk_labels")
    explorer.tick("bulk_labels", "Dendritic", on=False)
    explorer.add_gene("CD79A")
    explorer.at("plot-x-CD79A").click()
    explorer.add_gene("LYZ")
    explorer.at("plot-y-LYZ").click()
    explorer.at("mode-pan-zoom").click()
    box = explorer.at("layout-graph").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.wheel(0, -300)
    before = wait_for_view(page, lambda view: view["zoom"] is not None)
    # By keyboard alone.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = page.get_by_role("button", name="Copy link")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Link copied.")
    expect(page.get_by_role("button", name="Copied")).to_be_focused()
    page.screenshot(path=screenshots / "link-copied.png")
    link = page.evaluate("navigator.clipboard.readText()")
    assert "from=mail" not in link
    other = Explorer(chromium.new_page(viewport={"width": 1600, "height": 900}))
    try:
        other.open(link)
        after = wait_for_view(other.page, lambda view: view["zoom"] is not None)
        assert after["zoom"] == pytest.approx(before["zoom"], abs=2e-3)
        assert {**after, "zoom": None} == {**before, "zoom": None}
        assert before["select"] == [{"name": "bulk_labels", "labels": ["Dendritic"], "isComplement": True}]
    finally:
        other.page.close()


def test_every_awkward_name_survives(explorer, site, odd):
    """Colour, genes, selections of labels and of numbers, one after the other: each copied link gives the same view."""
    columns = [name for name, column in odd.obs.items() if name != odd.obs_index and column.type != "float32"]
    genes = [gene for gene in odd.genes if gene in cxgs.ODD_GENES]
    assert len(genes) == len(cxgs.ODD_GENES)
    explorer.open(f"{site}{ODD}")
    page = explorer.page
    views = [
        *({"gene": [gene], "color": ""} for gene in genes),
        {"gene": genes, "scatter": [joined(genes[0]), joined(genes[3])]},
        *({"color": name} for name in columns),
        *({"select": f"{joined(name)}:{joined(label)}"} for name, label in some_labels(odd)),
        {"select": f"{joined('a/b ü')}:2..5"},
        {"select": ["number:..40", "gene0:1.."], "gene": "gene0"},
        {"genesets": "second set,empty set"},
        {"color": "second set"},
        {"select": "geneset\\:second set:0.5..2", "genesets": "second set"},
    ]
    for parts in views:
        query = urllib.parse.urlencode(parts, doseq=True)
        go_to(page, query)
        shown = wait_for_view(page, lambda view, parts=parts: holds(view, parts))
        assert notes(page).count() == 0, query
        link = page.evaluate(LINK)
        go_to(page, "color=")
        wait_for_view(page, lambda view: view == PLAIN)
        go_to(page, link.partition("?")[2])
        assert wait_for_view(page, lambda view, shown=shown: view == shown)


def go_to(page, query):
    """Go to another view in the same page, as the back button does."""
    page.evaluate(
        "query => { history.pushState(null, '', `?${query}`); dispatchEvent(new PopStateEvent('popstate')); }", query
    )


def joined(name: str) -> str:
    return re.sub(r"([\\,:!])", r"\\\1", name) if name else ","


def some_labels(odd):
    """A column and one of its labels: each column with labels gives its first and its oddest one."""
    for name, column in odd.obs.items():
        if column.type in ("string", "categorical", "boolean") and name != odd.obs_index and name != "many":
            texts = {text(value) for value in column.values if value is not None}
            for label in {min(texts), max(texts, key=len)} if len(texts) > 1 else ():
                yield name, label


def text(value) -> str:
    """A value as JavaScript writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return "NaN" if value != value else f"{value:g}"
    return str(value)


def holds(view, parts) -> bool:
    """Whether a view has as many genes, selections and gene sets as were asked for, which come one after the other."""
    asked = {name: [value] if isinstance(value, str) else value for name, value in parts.items()}
    sets = [name for text in asked.get("genesets", []) for name in text.split(",")]
    if len(view["select"]) < len(asked.get("select", [])) or len(view["genes"]) < len(asked.get("gene", [])):
        return False
    # A gene colours the cells unless a colour is named.
    if parts.get("color", "gene" in parts) and not view["color"]:
        return False
    return len(view["genesets"]) >= len(sets) and bool(view["scatter"]) == ("scatter" in asked)


def test_views_of_any_names_are_written_and_read_again(explorer, site):
    """The two functions alone, with names that are made up of everything that means something in an address."""
    explorer.open(f"{site}{ODD}")
    faults = explorer.page.evaluate(
        """async () => {
          const { parseView, writeView } = await import(
            document.querySelector("script[type=module]").src.replace(/main\\.js$/, "state.js"));
          const signs = [..."\\\\,:!%&=+#?/ ;'\\"()*~.-ab\\u00e9\\u03b2\\ud83e\\uddec\\n\\t<>|^`{}[]@$", "..", "%2C", "gene:"];
          let seed = 1;
          const random = (n) => { seed = (seed * 48271) % 2147483647; return seed % n; };
          const name = () => Array.from({ length: 1 + random(6) }, () => signs[random(signs.length)]).join("");
          const names = (n) => [...new Set(Array.from({ length: random(n) }, name))];
          const faults = [];
          for (let k = 0; k < 3000; k += 1) {
            const view = {
              genes: names(3), color: random(2) ? name() : null, labels: random(2) === 1, layout: random(2) ? name() : null,
              select: Array.from({ length: random(3) }, () => ({
                name: name(), labels: [...names(4), ...(random(4) ? [] : [""])], isComplement: random(2) === 1 })),
              markers: random(2) ? name() : null, genesets: names(3), scatter: random(2) ? [name(), name()] : [], zoom: random(2) ? [0.25, -0.5, 2] : null,
            };
            const text = writeView(view);
            const url = new URL(`https://host.example/d/x.cxg/?${text}`);
            const back = parseView(url.searchParams);
            back.select = back.select.map(({ name, labels, isComplement }) => ({ name, labels, isComplement }));
            if (JSON.stringify(back) !== JSON.stringify(view) || url.hash || /[\\s<>"]/.test(text)) {
              faults.push([JSON.stringify(view), text]);
            }
          }
          return faults.slice(0, 5);
        }"""
    )
    assert faults == []


def test_what_the_dataset_does_not_have_is_named_and_the_rest_shown(explorer, site, screenshots):
    query = "gene=CST3&gene=NOSUCH&color=nope&layout=none&select=bulk_labels:CD19%2B+B,Martian&genesets=none"
    explorer.open(f"{site}{SAMPLE}?{query}")
    note = explorer.page.get_by_role("alert")
    for name in ("gene “NOSUCH”", "“nope”", "embedding “none”", "label “Martian” of “bulk_labels”", "gene set “none”"):
        expect(note).to_contain_text(name)
    explorer.at("histogram-CST3").wait_for()
    explorer.wait_for_cells(lambda some, _: some == 95)
    explorer.page.screenshot(path=screenshots / "link-unknown.png")
    note.get_by_role("button", name="Dismiss").click()
    expect(notes(explorer.page)).to_have_count(0)


def test_the_back_button_undoes_step_by_step(explorer, site):
    explorer.page.goto(site)
    explorer.page.locator(".card", has_text="pbmc68k_reduced").get_by_role("link").first.click()
    explorer.wait_drawn()
    page = explorer.page
    explorer.color_by("louvain")
    expect(page).to_have_url(re.compile(r"\?color=louvain$"))
    explorer.add_gene("CD79A")
    expect(page).to_have_url(re.compile(r"gene=CD79A&color=louvain$"))
    explorer.color_by("CD79A")
    expect(page).to_have_url(re.compile(r"\?gene=CD79A$"))
    explorer.at("layout-choice").click()
    page.get_by_text("pca", exact=False).first.click()
    expect(page).to_have_url(re.compile(r"\?gene=CD79A&layout=pca$"))
    page.go_back()
    page.get_by_text("umap: 700 out of 700 cells").wait_for()
    expect(page).to_have_url(re.compile(r"\?gene=CD79A$"))
    page.go_back()
    wait_for_view(page, lambda view: (view["color"], view["genes"]) == ("louvain", ["CD79A"]))
    page.go_back()
    wait_for_view(page, lambda view: (view["color"], view["genes"]) == ("louvain", []))
    page.go_forward()
    wait_for_view(page, lambda view: view["genes"] == ["CD79A"])
    page.go_back()
    page.go_back()
    wait_for_view(page, lambda view: view["color"] is None)
    expect(page).to_have_url(f"{site}{SAMPLE}")
    page.go_back()
    expect(page).to_have_url(site)


def test_the_zoom_is_in_the_address_and_no_step(explorer, site):
    explorer.open(f"{site}{SAMPLE}")
    page = explorer.page
    length = page.evaluate("history.length")
    explorer.at("mode-pan-zoom").click()
    box = explorer.at("layout-graph").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.wheel(0, -200)
    expect(page).to_have_url(re.compile(r"\?zoom=-?[0-9.e-]+,-?[0-9.e-]+,[0-9.]+$"))
    assert page.evaluate("history.length") == length


@pytest.mark.parametrize("prefix", ["cells", "silent"])
def test_a_link_works_below_a_prefix(explorer, site, tmp_path, prefix):
    with serving.nginx_before(site, tmp_path) as proxy:
        explorer.open(f"{proxy}{prefix}/{SAMPLE.rstrip('/')}?{TWO_LABELS}")
        explorer.wait_for_cells(lambda some, _: some == 224)
        link = copied(explorer.page)
        assert link.startswith(f"{proxy}{prefix}/{SAMPLE}?color=")
        explorer.open(link)
        explorer.wait_for_cells(lambda some, _: some == 224)


def test_a_link_works_through_a_login(explorer, site):
    """A login shows a page of its own first, then leads back to the address that the server was asked for."""
    page = explorer.page
    asked = []

    def show_login(route):
        asked.append(route.request.url)
        route.fulfill(content_type="text/html", body=f'<a href="{html.escape(route.request.url)}">Log in</a>')

    page.route(lambda url: "?color=" in url, show_login, times=1)
    page.goto(f"{site}{SAMPLE}?{TWO_LABELS}#part")
    page.get_by_role("link", name="Log in").click()
    explorer.wait_drawn()
    explorer.wait_for_cells(lambda some, _: some == 224)
    assert asked == [page.url] == [f"{site}{SAMPLE}?{TWO_LABELS}"]


def test_over_plain_http_the_older_way_copies(explorer, site):
    explorer.page.add_init_script(NO_CLIPBOARD)
    explorer.open(f"{site}{SAMPLE}?gene=CST3")
    page = explorer.page
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("status")).to_contain_text("Link copied.")


def test_where_nothing_copies_the_link_is_shown(explorer, site):
    explorer.page.add_init_script(NO_COPY)
    explorer.open(f"{site}{SAMPLE}?gene=CST3")
    explorer.page.get_by_role("button", name="Copy link").click()
    field = explorer.page.get_by_role("textbox", name="Link to this view")
    expect(field).to_have_value(f"{site}{SAMPLE}?gene=CST3")
    expect(field).to_be_focused()


def test_a_link_is_shown_in_a_large_dataset_too(explorer, site):
    query = "color=label&labels=1&select=label:B+cells&select=number:40..60&gene=gene0&scatter=gene0,gene1&layout=pca"
    explorer.open(f"{site}{LARGE}?{query}")
    selected, _ = explorer.wait_for_cells(lambda some, every: 0 < some < every)
    assert 5_000 < selected < 30_000
    explorer.at("scatterplot").wait_for()
    view = wait_for_view(explorer.page, lambda view: len(view["select"]) == 2 and view["layout"] == "pca")
    assert (view["color"], view["labels"], view["genes"]) == ("label", True, ["gene0"])


def test_another_client_says_that_links_are_off(page, odd, tmp_path, screenshots):
    client = tmp_path / "client"
    shutil.copytree(serving.CLIENT, client)
    script = next(client.glob("static/main-*.js"))
    script.write_bytes(script.read_bytes() + b"\n// another build\n")
    told = []
    page.on("console", lambda message: told.append((message.type, message.text)))
    with serving.launched(odd.path.parent, tmp_path / "log", client) as url:
        explorer = Explorer(page)
        explorer.open(f"{url}{SAMPLE}")
        assert [kind for kind, text in told if "web client of its own" in text] == ["info"]
        assert notes(page).count() == 0
        explorer.open(f"{url}{SAMPLE}?gene=CST3")
        expect(page.get_by_role("alert")).to_contain_text("links that carry a view")
        page.screenshot(path=screenshots / "link-other-client.png")
        assert page.get_by_role("button", name="Copy link").count() == 0
        assert explorer.at("histogram-CST3").count() == 0


@pytest.mark.parametrize("page", [{"color_scheme": "dark", "viewport": {"width": 360, "height": 740}}], indirect=True)
def test_notes_fit_a_phone_and_follow_the_dark_mode(page, site, screenshots):
    page.goto(f"{site}{SAMPLE}?gene=NOSUCH&color=a-rather-long-name-of-a-column-without-any-blank-in-it")
    note = page.get_by_role("alert").locator(".cxg-note")
    expect(note).to_be_visible(timeout=30_000)
    box = note.bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert note.evaluate("one => getComputedStyle(one).backgroundColor") == "rgb(27, 33, 42)"
    page.screenshot(path=screenshots / "link-note-phone.png")


def test_switched_off_there_is_no_button_and_no_view(page, odd, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("visit: {links: false}\n")
    with serving.launched(odd.path.parent, tmp_path / "log", serving.CLIENT, "--config", str(config)) as url:
        explorer = Explorer(page)
        explorer.open(f"{url}{SAMPLE}?gene=CST3")
        explorer.color_by("louvain")
        explorer.wait_for_dots(lambda dots: len(dots) > 500)
        assert page.get_by_role("button", name="Copy link").count() == 0
        assert page.url == f"{url}{SAMPLE}?gene=CST3"
        assert view_of(page)["genes"] == []
