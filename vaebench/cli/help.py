"""Help of the command line: commands in sections, and what to do first."""

from typing import Any

from typer.core import TyperGroup

SECTIONS = {
    "Start here": ("quickstart", "list", "doctor", "fetch"),
    "Train and measure": ("train", "evaluate", "suite"),
    "Decide which is better": ("report", "compare", "plan", "explain"),
    "Gate a CI run": ("check", "accept"),
    "Look into latent space": (
        *("sample", "reconstruct", "interpolate", "attributes", "correlate", "embed", "blend"),
        "webcam",
    ),
    "Keep house": ("cache",),
}
REST = "More"
FIRST = """\
vaebench: which generative image model is better, and is the difference real?

  vaebench quickstart    train, measure and rank four families on real digits;
                         minutes, no network, no GPU
  vaebench evaluate --images DIR --name mine --reference digits
                         measure images that you have against real ones
  vaebench list          what there is, and what is ready here

All commands: vaebench --help. Options and an example: vaebench COMMAND --help.
"""


class Sectioned(TyperGroup):
    """Group of commands whose help lists them in sections."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands into a help page under the headings of :data:`SECTIONS`."""
        known = {name: command for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))}
        placed = {name for names in SECTIONS.values() for name in names}
        sections = {**SECTIONS, REST: tuple(name for name in known if name not in placed)}
        longest = max(map(len, known), default=0)
        for heading, names in sections.items():
            room = formatter.width - longest - 6
            rows = [(name, known[name].get_short_help_str(room)) for name in names if name in known]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows, col_max=longest)
