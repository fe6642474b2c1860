"""Register each subject to the atlas and cut its patches at the landmarks; say who is in and who is not, and why.

Reads:   results/{cohort}/{{ingest,segment}}/{id}, results/atlases/{atlas}
Writes:  results/{cohort}/{atlas}/register/{id}/   atlas_to_subject.mat, record.json
         results/{cohort}/{atlas}/patches/{id}/    patches.zarr: hu (L, 32, 32, 32) int16, record.json
         results/{cohort}/{atlas}/included.tsv, exclusions.tsv
         results/{cohort}/{atlas}/cohort_flow.json  written only if not too many are excluded
Config:  seed, registration, patches, preprocess.max_excluded_fraction

That fraction is a resource: as a parameter, another value would train every encoder again.
"""


rule register_lungs:
    input:
        lungs="results/{cohort}/segment/{id}",
        atlas="results/atlases/{atlas}/lung_mask.nii.gz",
    output:
        transform=stored("register", "results/{cohort}/{atlas}/register/{id}"),
    log:
        "logs/{cohort}/{atlas}/register_lungs/{id}.log",
    priority: of_subject
    retries: 0
    group:
        in_group("subject")
    conda:
        "../envs/core.yaml"
    params:
        settings={**config["registration"], "seed": config["seed"]},
        version=STAGE_VERSIONS["register"],
    script:
        "../workflow_scripts/register_lungs.py"


rule cut_patches:
    input:
        volume="results/{cohort}/ingest/{id}",
        transform="results/{cohort}/{atlas}/register/{id}",
        landmarks="results/atlases/{atlas}/landmarks.json",
    output:
        patches=stored("patches", "results/{cohort}/{atlas}/patches/{id}"),
    log:
        "logs/{cohort}/{atlas}/cut_patches/{id}.log",
    priority: of_subject
    retries: 0
    group:
        in_group("subject")
    conda:
        "../envs/core.yaml"
    params:
        settings=config["patches"],
        version=STAGE_VERSIONS["patches"],
    script:
        "../workflow_scripts/cut_patches.py"


rule collect_subjects:
    input:
        patches=every_id("results/{cohort}/{atlas}/patches/{id}"),
    output:
        included="results/{cohort}/{atlas}/included.tsv",
        exclusions="results/{cohort}/{atlas}/exclusions.tsv",
    log:
        "logs/{cohort}/{atlas}/collect_subjects.log",
    conda:
        "../envs/core.yaml"
    params:
        version=STAGE_VERSIONS["flow"],
        tables={"version": COHORT_VERSIONS["flow"]},
    script:
        "../workflow_scripts/collect_subjects.py"


rule check_exclusions:
    input:
        included="results/{cohort}/{atlas}/included.tsv",
        exclusions="results/{cohort}/{atlas}/exclusions.tsv",
    output:
        flow="results/{cohort}/{atlas}/cohort_flow.json",
    log:
        "logs/{cohort}/{atlas}/check_exclusions.log",
    conda:
        "../envs/core.yaml"
    resources:
        max_excluded_fraction=str(config["preprocess"]["max_excluded_fraction"]),
    params:
        version=STAGE_VERSIONS["flow"],
    script:
        "../workflow_scripts/check_exclusions.py"
