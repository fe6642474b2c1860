"""A toy experiment and evaluations for it."""

TOY = """
title: Toy
cohort: copd
columns:
  log_fev1pp_r2: {section: Lung function, label: "log FEV1pp, R²", task: log_fev1pp, metric: r2, format: ratio}
  gold_accuracy_pct: {section: GOLD, label: "accuracy, %", task: gold, metric: accuracy, format: percent}
  gold_within_one_pct: {section: GOLD, label: "within one, %", task: gold, metric: within_one, format: percent}
rows:
  - {label: LAA-950, run: laa950, paper: {log_fev1pp_r2: [0.44, 0.02], gold_accuracy_pct: [55.8, null]}}
  - {label: Own idea, run: own, note: "ours alone"}
  - {label: MoCo, group: unsupervised, run: null, paper: {gold_within_one_pct: [67.6, 1.4]}}
"""


def toy_file(tmp_path, text=TOY):
    path = tmp_path / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def result(summary, n=370, readout="plain", reason=None, converged=True, variant=None, task=None, notes=()):
    return {
        "task": task or ("log_fev1pp" if "r2" in summary else "gold"),
        "variant": variant,
        "notes": list(notes),
        "readout": readout,
        "seed": 0,
        "fold_count": 5,
        "n": n,
        "reason": reason,
        "folds": [{"converged": converged, "metrics": dict(summary)}],
        "summary": {metric: {"mean": mean, "sd": sd} for metric, (mean, sd) in summary.items()},
    }


def toy_results():
    gold = {"accuracy": (0.5, 0.25), "within_one": (2 / 3, None)}
    return {
        ("laa950", "log_fev1pp"): result({"r2": (-0.001, 0.0123)}),
        ("laa950", "gold"): result(gold, n=350),
        ("own", "log_fev1pp"): result({"r2": (0.25, 0.1)}),
        ("own", "gold"): result({"accuracy": (None, None), "within_one": (None, None)}, n=0, reason="no column gold"),
    }


DETECTION = """
title: Detection
cohort: copd
columns:
  f1: {section: Centrilobular, label: F1, task: centrilobular_detection, metric: f1, format: ratio}
rows:
  - {label: Own, group: Linear readout, run: own, variant: linear}
  - {label: Own, group: Full fine-tuning, run: own, variant: finetuned, paper: {f1: [0.98, 0.01]}}
"""
