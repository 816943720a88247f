"""`pumasi deid`: pseudonymise and anonymise tables, and know the risk before and after. Works alone, without hub or node."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Pseudonymise and anonymise tables; measure the risk.")
