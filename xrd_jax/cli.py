"""The command line: absl flags become a configuration, the configuration becomes a run.

JAX is imported only after the flags have been read, so that `--help` and every complaint come at once.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging

from xrd_jax.config.cell import PRESETS
from xrd_jax.config.overrides import override
from xrd_jax.config.schema import Config
from xrd_jax.errors import UserError
from xrd_jax.runtime import process

ATTENTION = {"paper": "softmax", "faithful": "faithful"}
MODES = ("train", "inspect", "predict", "watch", "export", "explain", "information")

Cases = Mapping[int, Callable[[], Config]]
Ablations = Mapping[str, Mapping[str, list[str]]]

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "mode",
    "train",
    MODES,
    "train also evaluates, analyses and draws; inspect says what --data=FOLDER or FILE is. Of the run in --workdir: "
    "predict tells what it thinks of --data, watch follows the folder --data while patterns arrive, export makes it "
    "one file that needs nothing of this package, explain says which peaks it goes by and whether to believe that. "
    "information says what each channel of the simulated cell can tell, and what nobody could do better.",
)
flags.DEFINE_integer(
    "case", 3, "1: voltage at 1C; 2: voltage and mode at 1C; 3: voltage, mode and rate at 1C and 0.2C."
)
flags.DEFINE_string("data", "", "Experiment file (.toml) or saved series (.h5); the simulated cell if not given.")
flags.DEFINE_string("json", "", "With --mode=inspect: where to write the findings for programs.")
flags.DEFINE_string(
    "out", "", "With --mode=predict, watch or export: where results go; a folder in --workdir if empty."
)
flags.DEFINE_list("methods", [], "With --mode=explain: the explanations to make and test; all of them if empty.")
flags.DEFINE_list("cif", [], "With --mode=explain: CIF files of the phases whose reflections name the peaks.")
flags.DEFINE_string("importance", "", "With --mode=explain: the method that importance.csv is of; the best if empty.")
flags.DEFINE_float("until_idle", 0.0, "With --mode=watch: end when nothing new has come for so many seconds; 0: never.")
flags.DEFINE_float("patience", 60.0, "With --mode=watch: seconds after which a file that stays unreadable is reported.")
flags.DEFINE_enum("format", "jax", ("jax", "onnx"), "With --mode=export: StableHLO for jax.export, or ONNX.")
flags.DEFINE_bool("cache", True, "Keep what many pattern files held, so that they read at once the next time.")
flags.DEFINE_string("data_root", "", "Where relative paths of the experiment file start; else $XRD_JAX_DATA.")
flags.DEFINE_string("cell", "default", f"Preset of the simulated cell: {', '.join(PRESETS)}.")
flags.DEFINE_string("workdir", "", "Run directory (default runs/case<N>). The same command resumes what is there.")
flags.DEFINE_integer("seeds", 1, "How many networks to train side by side.")
flags.DEFINE_integer("seed", 0, "The first seed; with --mode=export the only one, instead of the mean over all.")
flags.DEFINE_string(
    "split", "", "random half, cycle (last of each rate held out), block, half_cycle (one held out), rows."
)
flags.DEFINE_string("resize", "", "spline (samples it) or bin (sums channels; keeps far more information).")
flags.DEFINE_enum(
    "attention",
    None,
    list(ATTENTION),
    "paper: between two hidden layers. faithful: that and, for each target, attention over the pattern itself that is "
    "taught to show what the network draws on.",
)
flags.DEFINE_enum(
    "precision", None, ["float32", "bfloat16"], "Precision of the products; float32 unless the experiment file differs."
)
flags.DEFINE_integer("epochs", 0, "Passes over the training patterns; the case's own if 0.")
flags.DEFINE_multi_string(
    "set", [], "key=value: any field of the configuration, such as model.attention=off. Repeatable."
)
flags.DEFINE_bool("overwrite", False, "Replace the run that the run directory holds.")
flags.DEFINE_string("ablation", "", "A named ablation instead of one run; 'list' shows them.")
flags.DEFINE_bool("distributed", False, "Train with other processes, on this host or others; see the README.")
flags.DEFINE_string(
    "coordinator", "", "With --distributed: HOST:PORT of the first process; found on Slurm and Kubernetes."
)
flags.DEFINE_integer("process_id", -1, "With --distributed: which process this one is, from 0.")
flags.DEFINE_integer("process_count", 0, "With --distributed: how many processes there are.")
flags.DEFINE_bool("compile_cache", True, "Keep compiled programs for the next launch, in a private folder of yours.")
flags.DEFINE_bool("progress", True, "Draw a progress bar.")


def is_reporting() -> bool:
    """Whether this process is the one of a training that writes to the screen."""
    if not FLAGS.distributed:
        return True
    from xrd_jax.runtime import distributed as runtime_distributed

    return runtime_distributed.is_primary()


def echo(line: str) -> None:
    if is_reporting():
        print(line, flush=True)


def base_config(cases: Cases) -> Config:
    """The case's configuration with the flags other than --set applied.

    Raises:
      UserError: an unknown case or preset.
    """
    if FLAGS.case not in cases:
        *others, last = map(str, cases)
        raise UserError(f"--case={FLAGS.case}: the cases are {', '.join(others)} and {last}")
    if FLAGS.cell not in PRESETS:
        raise UserError(f"--cell={FLAGS.cell}: the presets are {', '.join(PRESETS)}")
    if FLAGS.seeds < 1 or FLAGS.epochs < 0:
        raise UserError("--seeds must be at least 1 and --epochs positive")
    base = cases[FLAGS.case]()
    cell = dataclasses.replace(PRESETS[FLAGS.cell], rates=base.cell.rates)
    return dataclasses.replace(base, cell=cell, seed=FLAGS.seed, seeds=FLAGS.seeds)


def apply_flags(config: Config) -> Config:
    """The shorthand flags, then --set; they win over the case and over the experiment file."""
    shorthand = {"prepare.split": FLAGS.split, "prepare.resize": FLAGS.resize, "train.epochs": FLAGS.epochs}
    shorthand["model.precision"] = FLAGS.precision
    shorthand["model.attention"] = ATTENTION.get(FLAGS.attention, "")
    return override(config, [*(f"{key}={value}" for key, value in shorthand.items() if value), *FLAGS.set])


def for_measured_data(config: Config) -> Config:
    """A case for measured data: no window and no zero shift but those that its experiment file asks for."""
    prepare = dataclasses.replace(config.prepare, window_target="")
    train = dataclasses.replace(config.train, redraw_shift=0.0)
    return dataclasses.replace(config, data=FLAGS.data, data_root=FLAGS.data_root, prepare=prepare, train=train)


def initialise_runtime(config: Config) -> None:
    """Settles which processes and devices there are, and where programs are kept, before JAX looks for any."""
    from xrd_jax.runtime import distributed as runtime_distributed

    processes = 1
    if FLAGS.distributed:
        processes = runtime_distributed.start(FLAGS.coordinator, FLAGS.process_id, FLAGS.process_count)
    elif FLAGS.coordinator or FLAGS.process_id >= 0 or FLAGS.process_count:
        raise UserError("--coordinator, --process_id and --process_count are for --distributed; add it")
    initialise_devices(-(-config.seeds * max(1, config.train.batch_devices) // processes) if processes > 1 else 0)


def initialise_devices(most: int = 0) -> None:
    """A device for every core, at most `most` if given, and a place for compiled programs."""
    from xrd_jax.runtime import compilation, devices
    from xrd_jax.runtime import process as runtime_process

    devices.emulate(most or runtime_process.cores())
    compilation.full_float32()
    if FLAGS.compile_cache:
        compilation.enable_compilation_cache()


def run_case(cases: Cases) -> None:
    """Data → training → report for the flags as they are."""
    config = apply_flags(base_config(cases))  # complains about bad flags before anything is computed
    begun = time.perf_counter() - process.age()
    initialise_runtime(config)
    from xrd_jax import datasets
    from xrd_jax.commands import train as commands_train
    from xrd_jax.commands.tables import markdown

    if FLAGS.data:
        config = for_measured_data(base_config(cases))
        series, remarks, settings = datasets.load_for(config, FLAGS.cache, FLAGS.progress and is_reporting())
        if not series.is_counts:
            settings = {"train.augment": "none", **settings}
        config = apply_flags(datasets.apply_settings(config, settings))
    else:
        series, remarks, _ = datasets.load_for(config)
    for remark in remarks:
        echo(remark)
    workdir = FLAGS.workdir or f"runs/case{FLAGS.case}"
    run, result = commands_train.train_and_report(series, config, workdir, FLAGS.overwrite, FLAGS.progress, echo, begun)
    if not is_reporting():
        return
    wall = result.metrics["wall_s"]
    echo("")
    echo(markdown(result.rows))
    echo(f"{sum(wall.values()):.0f} s: " + ", ".join(f"{part} {seconds:.0f}" for part, seconds in wall.items()))
    echo(f"figures, predictions and metrics: {run.path}; curves: tensorboard --logdir {run.path}/tensorboard")


def run_inspect() -> None:
    """Says what the data are, draws them, and writes an experiment file to start from."""
    if not FLAGS.data:
        raise UserError("--mode=inspect needs --data=FOLDER, a file or an experiment file")
    from xrd_jax.commands.inspect import inspect

    inspect(FLAGS.data, FLAGS.workdir, FLAGS.json, FLAGS.data_root, FLAGS.cache, FLAGS.progress, echo)


def run_explain() -> None:
    """Explains the run in --workdir."""
    if not FLAGS.workdir:
        raise UserError("--mode=explain needs --workdir=RUN, the directory of a finished run")
    initialise_devices()
    from xrd_jax.commands import explain as commands_explain
    from xrd_jax.explain import importance as explain_importance

    findings = commands_explain.explain(FLAGS.workdir, FLAGS.methods, FLAGS.cif, FLAGS.importance, echo, FLAGS.progress)
    echo("")
    echo(commands_explain.table(findings))
    echo("")
    for line in explain_importance.sentences(findings.rows):
        echo(line)
    echo(f"{FLAGS.workdir}: {commands_explain.SUMMARY}, importance.csv, explain_curves.csv, figures/explain_*")


def run_deployed() -> None:
    """A finished run at work: predict, watch or export.

    Raises:
      UserError: a flag that the mode needs is missing.
    """
    mode = FLAGS.mode
    if not FLAGS.workdir:
        raise UserError(f"--mode={mode} needs --workdir=RUN, the directory of a finished run")
    if not FLAGS.data and mode != "export":
        raise UserError(f"--mode={mode} needs --data={'FOLDER' if mode == 'watch' else 'FILE or FOLDER'}")
    if FLAGS.until_idle < 0 or FLAGS.patience < 0:
        raise UserError("--until_idle and --patience are seconds, 0 or more")
    initialise_devices()
    if mode == "predict":
        from xrd_jax.commands import predict

        predict.predict(FLAGS.workdir, FLAGS.data, FLAGS.out, FLAGS.data_root, FLAGS.overwrite, FLAGS.cache,
                        FLAGS.progress, echo)  # fmt: skip
    elif mode == "watch":
        from xrd_jax.commands import watch

        watch.watch(FLAGS.workdir, FLAGS.data, FLAGS.out, FLAGS.until_idle, FLAGS.patience, progress=FLAGS.progress,
                    say=echo)  # fmt: skip
    else:
        from xrd_jax.commands import export

        seed = FLAGS.seed if FLAGS["seed"].present else None  # without the flag, the mean over all seeds
        export.export(FLAGS.workdir, FLAGS.format, FLAGS.out, seed, FLAGS.overwrite, echo)


def run_information(cases: Cases) -> None:
    """What is known about the simulated cell, and where the run in --workdir, if there is one, stands against it."""
    if FLAGS.data:
        raise UserError("--mode=information is about the simulated cell; leave --data out")
    config = apply_flags(base_config(cases))
    initialise_devices()
    from xrd_jax.commands import information

    information.report(config, FLAGS.workdir or "runs/information", echo)


def run_ablation(cases: Cases, ablations: Ablations) -> None:
    """All variants of one named ablation, one table."""
    if FLAGS.ablation == "list":
        for name, variants in ablations.items():
            echo(f"{name}: {', '.join(variants)}")
        return
    if FLAGS.ablation not in ablations:
        raise UserError(f"--ablation={FLAGS.ablation}: the ablations are {', '.join(ablations)}")
    if FLAGS.data:
        raise UserError("--ablation runs on the simulated cell; leave --data out")
    config = apply_flags(base_config(cases))
    initialise_runtime(config)
    from xrd_jax.commands import ablate as commands_ablate

    workdir = Path(FLAGS.workdir or f"runs/ablation-{FLAGS.ablation}")
    table = commands_ablate.ablate(ablations[FLAGS.ablation], config, workdir, FLAGS.overwrite, FLAGS.progress, echo)
    echo("")
    echo(table)
    echo(f"table: {workdir}/table.md; all curves: tensorboard --logdir {workdir}")


def main(argv: Sequence[str], cases: Cases, ablations: Ablations) -> None:
    """Runs what the flags ask for; a complaint is one line and exit code 2."""
    logging.set_verbosity(logging.WARNING)  # libraries' remarks would run through the progress bar
    threading.excepthook = _background
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument '{argv[1]}'; flags start with --, such as --case=3")
        if FLAGS.mode == "inspect":
            run_inspect()
        elif FLAGS.mode in ("predict", "watch", "export"):
            run_deployed()
        elif FLAGS.mode == "explain":
            run_explain()
        elif FLAGS.mode == "information":
            run_information(cases)
        elif FLAGS.ablation:
            run_ablation(cases, ablations)
        else:
            run_case(cases)
    except UserError as error:
        _leave(str(error))
    except OSError as error:  # a full disk shows wherever something is written
        _leave(f"{error.filename or FLAGS.workdir or 'the run directory'}: {error.strerror or error}")
    except (RuntimeError, ValueError) as error:
        _unless_lost(error)
        raise
    except KeyboardInterrupt:
        print("\ninterrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        sys.exit(130)


def _unless_lost(error: Exception) -> None:
    """Ends this process in one line if `error` comes of another one's end."""
    if FLAGS.distributed:
        from xrd_jax.runtime import distributed as runtime_distributed

        if runtime_distributed.is_peer_failure(error):
            runtime_distributed.stop()


def _background(failure: threading.ExceptHookArgs) -> None:
    """A background writer that meets a full disk is silent: the checkpoint that meets it too stops the run."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


def _leave(line: str) -> NoReturn:
    """One line, exit code 2, and no last words of background writers that met the same full disk."""
    _complain(line)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _parse(argv: Sequence[str]) -> list[str]:
    """absl's parser with its complaints in one line, and help that is no failure."""
    try:
        return flags.FLAGS(list(argv))
    except SystemExit:
        sys.exit(0)  # absl leaves with 1 after it has shown help
    except flags.Error as error:
        sys.exit(_complain(" ".join(str(error).split()) + " (--help lists the flags)"))


def _complain(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 2


def run(cases: Cases, ablations: Ablations) -> None:
    """Reads the flags and does what they ask for.

    Args:
      cases: number -> configuration of a case.
      ablations: name -> label -> `key=value` differences from the case.
    """
    process.restart()
    app.run(functools.partial(main, cases=cases, ablations=ablations), flags_parser=_parse)
