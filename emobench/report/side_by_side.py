"""Replies beside each other in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_replies(plain: str, controlled: Mapping[str, str], label: str) -> None:
    """The uncontrolled reply above, then one row an emotion. Replies are shown as they are, never as markup."""
    table = Table(show_lines=True, expand=True)
    table.add_column("emotion", no_wrap=True)
    table.add_column("without control", ratio=1)
    table.add_column(label, ratio=1)
    for row, (emotion, reply) in enumerate(controlled.items()):
        table.add_row(emotion, Text(plain if row == 0 else "(the same)"), Text(reply))
    Console().print(table)
