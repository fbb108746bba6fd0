"""The tables [targets] and [split] of the experiment file."""

from __future__ import annotations

from typing import Any

from xrd_jax.errors import UserError
from xrd_jax.io.experiment import expression as expressions
from xrd_jax.io.experiment import schema as plans
from xrd_jax.io.parsing import toml_table

# Where targets come from other than columns, and the kinds that each may be, the usual one first.
SOURCES: dict[str, tuple[str, ...]] = {
    "half cycles": ("classification",),  # direction and half in time, the four classes of the paper
    "direction": ("classification",),  # charge or discharge
    "half cycle": ("classification",),  # which half cycle; what split = "half_cycle" leaves out
    "capacity": ("regression",),  # Ah passed since the log began, positive on charge
    "soc": ("regression",),  # 0 to 1 within each half cycle, by charge
    "c_rate": ("classification", "regression"),
    "session": ("classification",),
}
FROM_CYCLER = ("half cycles", "direction", "half cycle", "capacity", "soc")
SPLITS = ("random", "cycle", "block", "rows", "half_cycle")


def targets(table: toml_table.Section, version: int) -> tuple[plans.TargetPlan, ...]:
    if not table.values:
        raise UserError(f'{table.place} names no target; add one such as [targets.voltage] with column = "Ewe/V"')
    return tuple(_target(table.section(name), name, version) for name in list(table.values))


def _target(table: toml_table.Section, name: str, version: int) -> plans.TargetPlan:
    column, source = table.take("column", str, None), table.take("from", str, None)
    text = table.take("expression", str, None) if version > 1 else None
    file = table.take("table", str, None) if version > 1 else None
    sources = ("half cycles",) if version == 1 else tuple(SOURCES)
    kinds = SOURCES.get(source, ()) if source else ("regression", "classification")
    kind = table.take("kind", str, kinds[0] if kinds else "classification")
    unit = table.take("unit", str, "")
    table.done()
    if (column is not None) + (source is not None) + (text is not None) != 1:
        more = "" if version == 1 else ', expression = "…"'
        raise UserError(
            f'{table.place} needs either column = "…" of the cycler log{more} or from = "half cycles"; give one'
        )
    if source is not None and source not in sources:
        raise UserError(f"{table.place} from = '{source}' is not known{toml_table.suggest(source, sources)}")
    if kind not in kinds:
        raise UserError(f"{table.place} kind must be {' or '.join(kinds)}, not '{kind}'")
    if file is not None and column is None:
        raise UserError(f'{table.place} table needs column = "…", which names one of its columns; add it')
    tree = None if text is None else expressions.parse(text, table.place)
    return plans.TargetPlan(name, column, kind, unit, source, tree, file)


def check(plan: plans.Plan) -> None:
    """Refuses targets that ask for what no session has.

    Raises:
      UserError: naming target, session and remedy.
    """
    for target in plan.targets:
        place = f'{plan.path}: [targets.{target.name}] from = "{target.source}"'
        for session in plan.sessions:
            if target.source in FROM_CYCLER and session.cycler is None:
                raise UserError(f"{place} needs a cycler log; add [session.cycler] to '{session.name}'")
            if target.source == "c_rate" and session.c_rate is None:
                raise UserError(f"{place} needs c_rate in every [[session]]; add it to '{session.name}'")
    names = [target.name for target in plan.targets]
    if plan.split.get("prepare.split") == "half_cycle" and not {"half_cycle", "mode"} & set(names):
        raise UserError(
            f'{plan.path}: [split] kind = "half_cycle" needs [targets.half_cycle] with from = "half cycle"; add it'
        )


def split(table: toml_table.Section) -> dict[str, Any]:
    """The configuration that [split] stands for."""
    if not table.values:
        return {}
    kind = table.take("kind", str)
    if kind not in SPLITS:
        raise UserError(f"{table.place} kind '{kind}' is not known{toml_table.suggest(kind, SPLITS)}")
    asked: dict[str, Any] = {"prepare.split": kind}
    if kind == "rows":
        asked |= {"prepare.train_rows": table.take("train", str), "prepare.test_rows": table.take("test", str)}
    elif kind == "half_cycle":
        asked["prepare.half_cycle"] = table.take("leave_out", int, -1)
    if kind in ("random", "block") and "train_fraction" in table.values:
        asked["prepare.train_fraction"] = table.take("train_fraction", float)
    if kind == "block" and "blocks" in table.values:
        asked["prepare.blocks"] = table.take("blocks", int)
    if kind in ("random", "block") and "seed" in table.values:
        asked["split_seed"] = table.take("seed", int)
    table.done()
    return asked
