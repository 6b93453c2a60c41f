"""The workbench: tools that take adapters apart and make new ones of them. Tensors and files, no pipeline and no jobs.

    svd, ranks      ΔW by its singular values, and how many of them are enough
    spectrum        what an adapter is made of, block by block            overlap     what two have in common
    combine, sparse several with weights as one                           resize      another rank; a scale baked in
    extract         the difference of two models as an adapter            checkpoint  the weights of a model on disk
    layouts         kohya's, diffusers' and peft's files                  metadata, thumbnail   the header's texts
    plain           changes that depend on the base's weight, made plain

Tools that take long are generators that yield `progress.Done` between two layers.
"""
