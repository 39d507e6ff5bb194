"""Building blocks of methods: plain functions and small modules, each with tests, that any method may import.

augment         fixed views of images and masks (MVFA, MadCLIP, RegAD); rotations
deep_prompts    learnable vectors inside the text tower (MaPLe, AnomalyCLIP)
denoiser        UniAD's transformer that reconstructs patch features
frozen          frozen features of the support by row, held in memory or read back from the cache
fusion          a text branch and a memory-bank branch, rescaled and averaged
jitter          noise on patch features
loose           loose reconstruction: groups of blocks, maps as a whole, a gradient by patch (Dinomaly, INP-Former)
losses          focal, dice, SigLIP and deviation loss; `finite_sum`, which names a term that is not finite
maps            `patch_map` and `upsample`, from patches to pixels; Gaussian blur; the image score from the map
memory_bank     nearest neighbours, cosine and Euclidean; the greedy coreset
observed        images that a transductive method has observed, known again
optimisers      StableAdamW; a learning rate that warms up and falls along a cosine
poisson         seamless cloning of one image into another
precision       `l2_normalize` and `in_fp32`, which stay in fp32 under autocast
prompts         prompt ensembles and learnable contexts (CoOp)
rows            training data by row, in the memory of a GPU within a bound; batches that no one waits for
shapes          random shapes for synthetic anomalies
similarity      text embeddings of both states, and logits of image vectors against them; the vectors of images
ssim            structural similarity of feature grids
synthesis       synthetic anomalies on normal images (MediCLIP; CutMix)
training        batches of cached features, AdamW with one drop of the learning rate, clipped gradients
validate        checks of a method's parameters, with error messages
"""
