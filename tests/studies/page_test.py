"""report.html in a headless Chromium: sizes, colours, no network, no error, and the numbers of results.csv."""

import contextlib
import pathlib
import re
import shutil
import tempfile
import unittest

import made_up
from studies import ROOT, rows, script

from report.columns import TABLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = {"laptop": (1280, 800), "phone": (390, 844)}
VARIANTS = {name: made_up.VARIANTS[name] for name in ("none", "expert", "device", "all")}
PLOTS = {"plot-held-out", "plot-loss", "plot-max-vio", "plot-device-vio", "plot-difference-held-out-loss",
         "plot-front-max-vio", "plot-interference-ratio", "plot-interference-cosine", "plot-load", "plot-devices",
         "plot-domains", "plot-visits", "plot-specialisation"}
BACKGROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}


def luminance(color):
    parts = [int(color[at:at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


class ColorTest(unittest.TestCase):

    def test_text_and_lines_stand_out_in_light_and_dark(self):
        css = (ROOT / "scripts/lib/report/page.css").read_text()
        for block in re.findall(r":root \{(.*?)\}", css, re.S):
            colors = dict(re.findall(r"--(\w+): (#\w{6})", block))
            for name, least in {"ink": 7, "muted": 4.5, "accent": 4.5, **{f"c{n}": 3 for n in range(8)}}.items():
                for ground in ("paper", "panel"):
                    self.assertGreaterEqual(contrast(colors[name], colors[ground]), least, (name, ground))


@unittest.skipUnless(CHROMIUM, "no chromium: scripts/setup --tests installs it")
class PageTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        from playwright.sync_api import sync_playwright

        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsmoe-page-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        made_up.write_study(cls.folder, VARIANTS, seeds=(1, 2), steps=60,
                            told=dict.fromkeys(VARIANTS, ["interference"]))
        result = script("report", cls.folder, cls.folder)
        assert result.code == 0, result
        cls.numbers = rows(cls.folder / "results.csv")
        driver = cls.enterClassContext(sync_playwright())
        cls.browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        cls.addClassCleanup(cls.browser.close)

    @contextlib.contextmanager
    def page(self, width="laptop", scheme="light"):
        """The report, drawn. Any message on the console, any error and any request but the file itself fails."""
        size, phone, said, asked = WIDTHS[width], width == "phone", [], []
        context = self.browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme,
                                           is_mobile=phone, has_touch=phone)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        address = (self.folder / "report.html").as_uri()
        page.goto(address)
        page.wait_for_selector("html[data-drawn]", state="attached")
        yield page
        context.close()
        self.assertEqual(said, [])
        self.assertEqual([url for url in asked if not url.startswith(("data:", "blob:"))], [address])

    def check_layout(self, page, width):
        """The page is as wide as the window; what is wider scrolls in its own box; plots keep inside."""
        # A phone's innerWidth grows with a page that is too wide, so it is no measure.
        self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), width)
        outside = page.evaluate("""(width) => [...document.querySelectorAll(
                'h1,h2,p,li,figure,.plot,.scroll,.card,button,select')]
            .filter(each => !each.closest('.chips'))
            .filter(each => each.getBoundingClientRect().right > width + 1)
            .map(each => each.outerHTML.slice(0, 80))""", width)
        self.assertEqual(outside, [])
        drawn = page.evaluate("""[...document.querySelectorAll('.plot')].map(each => [each.id,
            each.querySelector('.main-svg').getBoundingClientRect().width, each.getBoundingClientRect().width])""")
        self.assertLessEqual(PLOTS, {name for name, _, _ in drawn})
        for name, svg, box in drawn:
            self.assertLessEqual(svg, box + 1, name)

    def test_it_fits_laptop_and_phone_in_light_and_dark(self):
        for width in WIDTHS:
            for scheme in BACKGROUND:
                with self.subTest(width=width, scheme=scheme), self.page(width, scheme) as page:
                    self.check_layout(page, WIDTHS[width][0])
                    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
                    self.assertEqual(background, BACKGROUND[scheme])

    def test_the_table_tells_the_numbers_of_the_csv(self):
        with self.page() as page:
            table = page.evaluate("""[...document.querySelectorAll('#table-results tbody tr')].map(
                row => [...row.children].map(cell => cell.textContent.replaceAll('−', '-')))""")
        self.assertEqual([row[0] for row in table], [*VARIANTS, "random routing"])
        for name, seeds, loss, difference, *others in table[:-1]:
            told = self.numbers[name]
            self.assertEqual(seeds, told["seeds"])
            for column, cell in zip(TABLE, (loss, *others)):
                mean, deviation = (float(told[f"{column.name}_{what}"]) * column.factor for what in ("mean", "sd"))
                wanted = f"{mean:,.{column.digits}f} ± {deviation:,.{column.digits}f}"
                self.assertEqual(cell, wanted, (name, column.name))
            if name != "none":
                mean, low, high = (float(told[f"held_out_loss_{what}"]) for what in ("difference", "low", "high"))
                self.assertEqual(difference, f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]")

    def test_plots_follow_the_scheme_of_the_reader(self):
        ink = "document.querySelector('#plot-max-vio .xtick text').style.fill"
        with self.page() as page:
            light = page.evaluate(ink)
            page.emulate_media(color_scheme="dark")
            for _ in range(100):
                if page.evaluate(ink) != light:
                    return
                page.wait_for_timeout(20)
            self.fail(f"the ticks stayed {light}")

    def test_variants_can_be_hidden_and_runs_and_steps_chosen(self):
        with self.page() as page:
            lines = "document.querySelectorAll('#plot-{} .scatterlayer .trace').length"
            plots = ("max-vio", "interference-ratio")
            before = [page.evaluate(lines.format(plot)) for plot in plots]
            page.click("button.chip[data-variant='device']")
            self.assertEqual([page.evaluate(lines.format(plot)) for plot in plots], [count - 2 for count in before])
            cells = "document.getElementById('plot-load').data[0].z.flat().join()"
            late = page.evaluate(cells)
            page.evaluate("""const slider = document.getElementById('choose-step');
                slider.value = 0; slider.dispatchEvent(new Event('input'))""")
            self.assertEqual(page.text_content(".controls output"), "step 3")
            early = page.evaluate(cells)
            self.assertNotEqual(early, late)
            page.select_option("#choose-variant", "expert")
            self.assertNotEqual(page.evaluate(cells), early)
            shares = "document.getElementById('plot-devices').data.map(each => each.y[0]).join()"
            pairs = page.evaluate(shares)
            page.select_option("#choose-layer", "0")
            of_layer = page.evaluate(shares)
            page.select_option("#choose-count", "tokens")
            self.assertEqual(len({pairs, of_layer, page.evaluate(shares)}), 3)


if __name__ == "__main__":
    unittest.main()
