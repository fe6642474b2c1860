"""Slide the fine-tuned detectors over the lungs (paper section 4.3.1, Figures 3 and 4).

Reads:   ingest, segment, register of a subject; a run's model and detector; a phantom's truth; included.tsv
Writes:  results/{cohort}/{atlas}/runs/{run}/dense/{id}/  {subtype}.nii.gz: 255 times the probability; record.json
         results/{cohort}/{atlas}/runs/{run}/dense.json   all masks in figures
         results/{cohort}/{atlas}/runs/{run}/dense-linear.json   of phantoms: the same of linear detectors, not kept
Config:  seed, dense, detection.features, evaluation.readout, preprocess.max_excluded_fraction, pretrain.cpu_threads, pretrain.device
"""


rule mask_emphysema:
    input:
        volume="results/{cohort}/ingest/{id}",
        lungs="results/{cohort}/segment/{id}",
        transform="results/{cohort}/{atlas}/register/{id}",
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
        detectors="results/{cohort}/{atlas}/runs/{run}/detector/SHA256SUMS",
        folds="results/{cohort}/folds.tsv",
        phantom=phantom_folder,
    output:
        masks=directory("results/{cohort}/{atlas}/runs/{run}/dense/{id}"),
    log:
        "logs/{cohort}/{atlas}/mask_emphysema/{run}/{id}.log",
    retries: 0
    group:
        in_group("masks")
    conda:
        "../envs/core.yaml"
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        sliding={
            "stride": config["dense"]["stride"],
            "block": config["dense"]["block"],
            "device": config["pretrain"]["device"],
        },
        version=DETECTION_VERSIONS["mask"],
    script:
        "../workflow_scripts/mask_emphysema.py"


rule summarise_masks:
    input:
        masks=masked("results/{cohort}/{atlas}/runs/{run}/dense/{id}"),
        participants="results/{cohort}/participants.tsv",
        included="results/{cohort}/{atlas}/included.tsv",
    output:
        summary="results/{cohort}/{atlas}/runs/{run}/dense.json",
    log:
        "logs/{cohort}/{atlas}/summarise_masks/{run}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of("summarise_masks", "detect/masks"),
        subjects=config["dense"]["subjects"],
    script:
        "../workflow_scripts/summarise_masks.py"


rule judge_linear_masks:
    input:
        phantom=masked("results/{cohort}/phantom/{id}"),
        ingest=masked("results/{cohort}/ingest/{id}"),
        segment=masked("results/{cohort}/segment/{id}"),
        register=masked("results/{cohort}/{atlas}/register/{id}"),
        patches="results/{cohort}/{atlas}/boxes.zarr",
        model=detection_model,
        included="results/{cohort}/{atlas}/included.tsv",
        folds="results/{cohort}/folds.tsv",
        landmarks="results/atlases/{atlas}/landmarks.json",
    output:
        figures="results/{cohort}/{atlas}/runs/{run}/dense-linear.json",
    log:
        "logs/{cohort}/{atlas}/judge_linear_masks/{run}.log",
    conda:
        "../envs/core.yaml"
    resources:
        gres=gpus(config["pretrain"]["device"]),
    params:
        code=code_of(
            "judge_linear_masks",
            "detect/scoring",
            "detect/masks",
            "detect/masks_linear",
            "detect/windows",
            "model/dense",
            "evaluate/histograms",
            "evaluate/readout",
        ),
        run=run_params,
        sliding={
            "stride": config["dense"]["stride"],
            "subjects": config["dense"]["subjects"],
            "device": config["pretrain"]["device"],
            "features": config["detection"]["features"],
            "readout": config["evaluation"]["readout"],
            "seed": config["seed"],
        },
    script:
        "../workflow_scripts/judge_linear_masks.py"
