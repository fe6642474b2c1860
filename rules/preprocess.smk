"""From a subject's scan to its isotropic volume and lung mask.

Reads:   the scan named by the participants table (no Snakemake input: a missing scan excludes one subject only)
Writes:  results/{cohort}/ingest/{id}/   ct.nii.gz int16 HU, record.json
         results/{cohort}/segment/{id}/  lungs.nii.gz uint8 (1 right, 2 left), record.json
Config:  preprocess, segmentation
"""


rule ingest_scan:
    input:
        **phantom_input(),
    output:
        volume=stored("ingest", "results/{cohort}/ingest/{id}"),
    log:
        "logs/{cohort}/ingest_scan/{id}.log",
    priority: of_subject
    retries: 0
    group:
        upstream_group
    conda:
        "../envs/core.yaml"
    params:
        listed=listed,
        settings={key: config["preprocess"][key] for key in ("axes", "spacing_mm")},
        version=STAGE_VERSIONS["ingest"],
    script:
        "../workflow_scripts/ingest_scan.py"


rule segment_lungs:
    input:
        **phantom_input(),
        volume="results/{cohort}/ingest/{id}",
        weights=ancient(segmentation_weights()),
    output:
        lungs=stored("segment", "results/{cohort}/segment/{id}"),
    log:
        "logs/{cohort}/segment_lungs/{id}.log",
    priority: of_subject
    retries: 0
    group:
        upstream_group
    conda:
        "../envs/core.yaml"
    params:
        scan=scan_path,
        settings=config["segmentation"],
        version=STAGE_VERSIONS["segment"],
    script:
        "../workflow_scripts/segment_lungs.py"
