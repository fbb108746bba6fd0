"""Ablations: which of the choices that the paper leaves open matter?

    python launch.py --ablation=list
    python launch.py --ablation=attention --seeds=8
    python launch.py --ablation=resize --case=1 --seeds=8 --epochs=20

Each name is a question; each variant is the chosen case with one difference. All variants share data and seeds.
"""

ABLATIONS: dict[str, dict[str, list[str]]] = {
    "attention": {
        "paper": [],
        "off": ["model.attention=off"],
        "uniform": ["model.attention=uniform"],
        "scaled": ["model.scaled=true"],
        "projections": ["model.projections=true"],
        "4 heads": ["model.heads=4"],
    },
    "layers": {
        "Q6 K10 (paper)": [],
        "Q2 K10": ["model.query_layer=2"],
        "Q4 K10": ["model.query_layer=4"],
        "Q8 K10": ["model.query_layer=8"],
        "Q10 K10": ["model.query_layer=10"],
        "Q6 K8": ["model.key_layer=8"],
    },
    "resize": {"spline (paper)": ["prepare.resize=spline"], "bin": ["prepare.resize=bin"]},
    "head": {
        "flatten (paper reading)": [],
        "mean": ["model.pooling=mean"],
        "identity": ["model.combination=identity"],
        "dropout 0.2": ["model.dropout=0.2"],
    },
    "norm": {
        "after 7 (paper)": [],
        "before 7": ["model.norm_place=before"],
        "none": ["model.norm_layer=0"],
        "after 10": ["model.norm_layer=10"],
    },
    "loss_weights": {
        "case's own": [],
        "classes 0.1": ["train.class_weight=0.1"],
        "classes 0.3": ["train.class_weight=0.3"],
        "squared error": ["train.regression_loss=squared"],
        "log-cosh of 1 deviation": ["train.regression_scale=1"],
    },
    "padding": {"zeros (paper)": [], "edge": ["model.padding=edge"], "reflect": ["model.padding=reflect"]},
    "kernel": {"4 (paper)": [], "3": ["model.kernel=3"], "5": ["model.kernel=5"], "7": ["model.kernel=7"]},
    "init": {"He normal": [], "Glorot": ["model.init=glorot_uniform"], "LeCun": ["model.init=lecun_normal"]},
    "augment": {
        "redraw": ["train.augment=redraw"],
        "redraw, no shift": ["train.augment=redraw", "train.redraw_shift=0"],
        "none": ["train.augment=none"],
    },
}
