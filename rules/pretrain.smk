"""Turn the patches landmark-major and train the encoders.

Reads:   results/{cohort}/{atlas}/patches/{id}, included.tsv
Writes:  results/{cohort}/{atlas}/bank.zarr         hu (L, N, 32, 32, 32) int16, valid (L, N)
         results/{cohort}/{atlas}/runs/{run}/model/  encoder.safetensors, model.json, landmarks.json, lung_mask.nii.gz,
                                                     metrics.csv, tensorboard/
Config:  bank, pretrain, runs

A training's output is its model's sums, written last: Snakemake deletes outputs before a job starts, and the rest of an
old model stays until the new one takes its place. The state of a training that is not finished lies in work/. One that
stops before its time limit leaves a checkpoint there and exits with 75: started again, it goes on.
"""


rule build_bank:
    input:
        flow="results/{cohort}/{atlas}/cohort_flow.json",
        included="results/{cohort}/{atlas}/included.tsv",
        patches=every_id("results/{cohort}/{atlas}/patches/{id}"),
        landmarks="results/atlases/{atlas}/landmarks.json",
    output:
        bank=stored("bank", "results/{cohort}/{atlas}/bank.zarr"),
    log:
        "logs/{cohort}/{atlas}/build_bank.log",
    conda:
        "../envs/core.yaml"
    resources:
        mem_mb=bank_memory,
        memory_gb=str(config["bank"]["memory_gb"]),
    params:
        **persons_param(),
        version=STAGE_VERSIONS["bank"],
    script:
        "../workflow_scripts/build_bank.py"


rule pretrain_encoder:
    input:
        bank="results/{cohort}/{atlas}/bank.zarr",
        atlas="results/atlases/{atlas}/lung_mask.nii.gz",
    output:
        model="results/{cohort}/{atlas}/runs/{run}/model/SHA256SUMS",
    log:
        "logs/{cohort}/{atlas}/pretrain_encoder/{run}.log",
    retries: training_retries()
    conda:
        "../envs/core.yaml"
    threads: training_threads
    resources:
        launcher=launcher,
        script=repo("workflow_scripts/pretrain_encoder.py"),
        upkeep=upkeep,
        mem_mb=training_memory,
        runtime=training_minutes(),
        nodes=training_nodes,
        tasks=training_nodes,
        mpi=training_mpi,
        cpus_per_task=node_cpus,
        gres=training_gpus,
    params:
        job=training_job,
    shell:
        "{resources.launcher} {resources.script:q} {params.job:q} {resources.upkeep:q} 2> {log}"
