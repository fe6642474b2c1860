"""Turn subjects into feature vectors.

Reads:   the bank and a trained encoder (of phantoms that no training sees: another cohort's), or the subjects themselves for methods without one
Writes:  results/{cohort}/{atlas}/runs/{run}/features/  features.parquet: participant_id, fold, f0 ...;
                                                        record.json: what they come from;
                                                        of encoders also landmarks.zarr: (N, L, D) float32
Config:  seed, runs, embedding, pretrain.cpu_threads
"""


ruleorder: embed_bank > embed_cohort


rule embed_bank:
    input:
        bank="results/{cohort}/{atlas}/bank.zarr",
        model=embedding_model,
    output:
        features=directory("results/{cohort}/{atlas}/runs/{run}/features"),
    log:
        "logs/{cohort}/{atlas}/embed_bank/{run}.log",
    wildcard_constraints:
        run="|".join(filter(has_encoder, every_training(config))) or "none",
    conda:
        "../envs/core.yaml"
    threads: config["pretrain"]["cpu_threads"]
    resources:
        mem_mb=embedding_memory,
    params:
        code=code_of("embed_bank", "model/embed_bank", "model/encoder", "model/layers"),
        cpu_threads=config["pretrain"]["cpu_threads"],
        features=config["embedding"]["features"],
    script:
        "../workflow_scripts/embed_bank.py"


rule embed_cohort:
    input:
        included="results/{cohort}/{atlas}/included.tsv",
        flow="results/{cohort}/{atlas}/cohort_flow.json",
        folds="results/{cohort}/folds.tsv",
        segment=every_id("results/{cohort}/segment/{id}"),
        patches=every_id("results/{cohort}/{atlas}/patches/{id}"),
    output:
        features=directory("results/{cohort}/{atlas}/runs/{run}/features"),
    log:
        "logs/{cohort}/{atlas}/embed_cohort/{run}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=method_code,
        run=run_params,
        seed=config["seed"],
    script:
        "../workflow_scripts/embed_cohort.py"
