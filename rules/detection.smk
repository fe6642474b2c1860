"""Detect emphysema in patches and voxel by voxel (paper sections 4.3 and 4.4.2).

Reads:   the table of boxes, participants.tsv, folds.tsv, included.tsv; ingest, segment and register of the subjects
Writes:  results/{cohort}/{atlas}/boxes.zarr                        patches of boxes and of healthy places
         results/{cohort}/{atlas}/runs/{run}/eval/                  {subtype}_detection-*.json, {subtype}_location-*.json
         results/{cohort}/{atlas}/runs/{run}/detector/, transfer/   {subtype}/fold-K.safetensors, detector.json, SHA256SUMS; {subtype}.json
Config:  seed, cohorts, detection, dense.block, evaluation, pretrain.cpu_threads, pretrain.device
"""


rule cut_boxes:
    input:
        boxes=boxes_table,
        participants="results/{cohort}/participants.tsv",
        folds="results/{cohort}/folds.tsv",
        included="results/{cohort}/{atlas}/included.tsv",
        landmarks="results/atlases/{atlas}/landmarks.json",
        ingest=boxed("results/{cohort}/ingest/{id}"),
        segment=boxed("results/{cohort}/segment/{id}"),
        register=boxed("results/{cohort}/{atlas}/register/{id}"),
    output:
        patches=directory("results/{cohort}/{atlas}/boxes.zarr"),
    log:
        "logs/{cohort}/{atlas}/cut_boxes.log",
    conda:
        "../envs/core.yaml"
    params:
        source=lambda wildcards: {"phantom": is_phantom(wildcards.cohort)},
        settings={"seed": config["seed"]},
        version=DETECTION_VERSIONS["boxes"],
    script:
        "../workflow_scripts/cut_boxes.py"


rule detect_linear:
    input:
        patches="results/{cohort}/{atlas}/boxes.zarr",
        model=detection_model,
    output:
        centrilobular="results/{cohort}/{atlas}/runs/{run}/eval/centrilobular_detection-linear.json",
        paraseptal="results/{cohort}/{atlas}/runs/{run}/eval/paraseptal_detection-linear.json",
    log:
        "logs/{cohort}/{atlas}/detect_linear/{run}.log",
    conda:
        "../envs/core.yaml"
    threads: config["pretrain"]["cpu_threads"]
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        code=code_of(
            "detect_linear",
            "detect/scoring",
            "detect/linear",
            "detect/windows",
            "detect/patches",
            "model/dense",
            "evaluate/histograms",
            "evaluate/readout",
            "evaluate/metrics",
        ),
        run=run_params,
        sliding=box_sliding(),
        judged={**judged(), "readout": config["evaluation"]["readout"]},
    script:
        "../workflow_scripts/detect_linear.py"


rule perturb_location:
    input:
        patches="results/{cohort}/{atlas}/boxes.zarr",
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
        atlas="results/atlases/{atlas}/lung_mask.nii.gz",
    output:
        evaluations=expand(
            "results/{cohort}/{atlas}/runs/{run}/eval/{subtype}_location-{variant}.json",
            variant=["patch_location", "random_location"],
            subtype=["centrilobular", "paraseptal"],
            allow_missing=True,
        ),
    log:
        "logs/{cohort}/{atlas}/perturb_location/{run}.log",
    conda:
        "../envs/core.yaml"
    threads: config["pretrain"]["cpu_threads"]
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        code=code_of(
            "perturb_location",
            "detect/scoring",
            "detect/linear",
            "detect/windows",
            "detect/patches",
            "model/dense",
            "evaluate/readout",
            "evaluate/metrics",
        ),
        sliding=box_sliding(),
        judged={**judged(), "readout": config["evaluation"]["readout"]},
    script:
        "../workflow_scripts/perturb_location.py"


rule finetune_detectors:
    input:
        patches="results/{cohort}/{atlas}/boxes.zarr",
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
    output:
        detectors="results/{cohort}/{atlas}/runs/{run}/detector/SHA256SUMS",
        centrilobular="results/{cohort}/{atlas}/runs/{run}/eval/centrilobular_detection-finetuned.json",
        paraseptal="results/{cohort}/{atlas}/runs/{run}/eval/paraseptal_detection-finetuned.json",
    log:
        "logs/{cohort}/{atlas}/finetune_detectors/{run}.log",
    conda:
        "../envs/core.yaml"
    threads: config["pretrain"]["cpu_threads"]
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        settings=finetuning,
        sliding=box_sliding(),
        judged=judged(),
        version=DETECTION_VERSIONS["finetune"],
    script:
        "../workflow_scripts/finetune_detectors.py"


rule transfer_detectors:
    input:
        patches="results/{cohort}/{atlas}/boxes.zarr",
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
    output:
        centrilobular="results/{cohort}/{atlas}/runs/{run}/transfer/centrilobular.json",
        paraseptal="results/{cohort}/{atlas}/runs/{run}/transfer/paraseptal.json",
    log:
        "logs/{cohort}/{atlas}/transfer_detectors/{run}.log",
    conda:
        "../envs/core.yaml"
    threads: config["pretrain"]["cpu_threads"]
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        fractions=config["detection"]["fractions"],
        settings=finetuning,
        sliding=box_sliding(),
        judged=judged(),
        version=DETECTION_VERSIONS["finetune"],
    script:
        "../workflow_scripts/transfer_detectors.py"
