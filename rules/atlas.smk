"""Make the atlas: its lung mask, landmarks, location codes and neighbours. It does not depend on the cohort.

Reads:   a participant's lung mask, or the file atlases.{atlas}.mask
Writes:  results/atlases/{atlas}/lung_mask.nii.gz
         results/atlases/{atlas}/landmarks.json
Config:  atlases, landmarks

Two rules, for another grid on the same mask needs no new registration.
"""


rule make_atlas:
    input:
        source=atlas_source,
    output:
        mask="results/atlases/{atlas}/lung_mask.nii.gz",
    log:
        "logs/atlases/{atlas}/make_atlas.log",
    conda:
        "../envs/core.yaml"
    params:
        settings={"spacing_mm": config["preprocess"]["spacing_mm"]},
        version=STAGE_VERSIONS["atlas"],
    script:
        "../workflow_scripts/make_atlas.py"


rule lay_landmarks:
    input:
        mask="results/atlases/{atlas}/lung_mask.nii.gz",
        corners=atlas_corners,
    output:
        landmarks="results/atlases/{atlas}/landmarks.json",
    log:
        "logs/atlases/{atlas}/lay_landmarks.log",
    conda:
        "../envs/core.yaml"
    params:
        settings=atlas_settings,
        version=STAGE_VERSIONS["atlas"],
    script:
        "../workflow_scripts/lay_landmarks.py"
