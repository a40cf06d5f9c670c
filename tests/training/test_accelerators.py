"""The table of hardware is sane, and its arithmetic is the chapter's where the chapter's figures follow."""

import pytest

from glassgpt.training.accelerators import GPT3_FLOPS, YEAR, accelerator_of, accelerators


@pytest.mark.parametrize("key", accelerators())
def test_every_row_is_plausible_and_cited(key):
    row = accelerators()[key]
    rates = [rate for rate in (row.float32, row.float16, row.bfloat16) if rate is not None]
    assert rates == sorted(rates), "narrower types are never slower"
    assert row.source
    assert 0 < row.memory < 1024


def test_a_missing_type_is_multiplied_in_the_next_one():
    known = accelerators()
    assert [known[key].multiplies("bfloat16") for key in ("h100", "v100", "m1")] == ["bfloat16", "float16", "float32"]
    assert known["v100"].multiplies("float32") == "float32"
    assert known["v100"].peak("bfloat16") == 125e12


def test_time_is_work_by_rate():
    assert accelerators()["h100"].seconds(989e12 * 3600, "bfloat16", utilization=0.5) == pytest.approx(7200)


def test_only_a_name_that_is_listed_is_known():
    h100 = accelerator_of("NVIDIA H100 80GB HBM3")
    assert h100 is not None and h100.name == "H100 SXM"
    assert accelerator_of("NVIDIA H100 PCIe") is None  # another chip with another peak


class TestTheChaptersYears:
    """3.14e23 FLOPs in 355 years on a V100, 665 on an RTX 8000, says the text."""

    def test_355_follows_from_28_teraflops(self):
        v100 = accelerators()["v100"]
        years = GPT3_FLOPS / (v100.chapter_rate * 1e12) / YEAR
        assert years == pytest.approx(355.60, abs=0.005)
        assert int(years) == v100.chapter_years

    def test_665_does_not_follow_from_15_teraflops(self):
        rtx8000 = accelerators()["rtx8000"]
        assert rtx8000.chapter_years == 665
        assert GPT3_FLOPS / (rtx8000.chapter_rate * 1e12) / YEAR == pytest.approx(663.79, abs=0.005)

    @pytest.mark.parametrize(
        ("flops", "years"), [(GPT3_FLOPS, 663.79), (3640 * 1e15 * 86400, 664.84), (6 * 175e9 * 300e9, 665.91)]
    )
    def test_665_depends_on_how_the_cost_is_stated(self, flops, years):
        """As 3.14e23 FLOPs, as 3,640 petaflop/s-days, as 6 FLOPs a parameter and token."""
        assert flops / 15e12 / YEAR == pytest.approx(years, abs=0.005)
