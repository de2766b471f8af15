"""Claims with verdicts made by hand: the tests' own, not a test."""

from vaebench.report.analysis.claims import Claim, parse
from vaebench.report.analysis.judging import Judged


def judged_claim(verdict="holds", expression="mse: vae < gan", note="", **changes):
    """A claim with a verdict that a test wants."""
    known = {"says": "vae is nearer", "source": "Doe 2020", "where": "table 1", "published": "t = 9"}
    claim = Claim(expression=expression, **{**known, **changes})
    return Judged(
        claim=claim,
        comparison=parse(expression),
        verdict=verdict,
        protocol="recon",
        values={"vae": 5.0, "gan": 5.5},
        difference=-0.5,
        ci_low=-0.6,
        ci_high=-0.4,
        test="nested-t",
        p_holm=0.001,
        seeds=3,
        note=note,
    )
