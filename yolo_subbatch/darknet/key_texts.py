"""What every key of a Darknet cfg does here, in a few words. Standard library only.

A text under ``section.key`` goes before one under ``key`` alone. The table of docs/from-darknet.md is made of them.
"""

from __future__ import annotations

#: Of the keys of a section, and of those that every section may have.
TEXTS: dict[str, str] = {
    # every section
    "learning_rate": "factor on the rate of `[net]` for this layer",
    "stopbackward": "1: this layer and all before it are frozen",
    "onlyforward": "no effect",
    "dontload": "1: a weights file holds nothing for this layer",
    "dontloadscales": "1: a weights file holds no scales, means and variances for this layer",
    "dontsave": "1: the layer's weights are not written",
    "numload": "a weights file holds only so many filters of this convolution",
    "smooth": "no effect",
    "truth": "no effect",
    # [net]
    "net.batch": "images of one weight update",
    "net.subdivisions": "parts in which a batch is computed; must divide it",
    "net.time_steps": "1 alone: recurrent layers are not built",
    "net.width": "width of the input in pixels",
    "net.height": "height of the input in pixels",
    "net.channels": "channels of the images: 3, 1 for grey, 4 with opacity; others for TIFF files of as many bands",
    "net.momentum": "momentum",
    "net.decay": "decay of the weights, not of biases and scales",
    "net.learning_rate": "learning rate",
    "net.learning_rate_min": "rate at the end of a cycle of `policy=sgdr`",
    "net.policy": "`constant`, `step`, `steps`, `exp`, `poly`, `sigmoid`, `random` or `sgdr`",
    "net.burn_in": "updates in which the rate rises, whatever the policy",
    "net.power": "exponent of `burn_in`, `policy=poly` and `policy=random`",
    "net.step": "updates from one change of the rate to the next (`step`); the middle (`sigmoid`)",
    "net.scale": "factor of each of these changes",
    "net.gamma": "base (`exp`), slope (`sigmoid`)",
    "net.steps": "updates at which the rate changes (`steps`)",
    "net.scales": "factor at each of `steps`",
    "net.sgdr_cycle": "updates of the first cycle (`sgdr`)",
    "net.sgdr_mult": "each cycle is so many times as long as the one before",
    "net.max_batches": "weight updates of the whole training",
    "net.angle": "no effect on detection, as in Darknet",
    "net.saturation": "largest factor, or divisor, on the saturation of a training image",
    "net.exposure": "the same for its brightness",
    "net.hue": "largest shift of its hue",
    "net.flip": "1: every second training image is mirrored",
    "net.letter_box": "1: training, and `detector`, keep the proportions of images",
    "net.mosaic": "1: every second training image is made of four",
    "net.mosaic_bound": "1: boxes of a mosaic end where their part does",
    "net.mixup": "1: every second training image is laid over another; 2 is `cutmix`, 3 and 4 are `mosaic`",
    "net.cutmix": "1: in every second training image a rectangle comes from another",
    "net.blur": "training images are blurred with a kernel of about so many pixels",
    "net.gaussian_noise": "noise on half of the training images, its standard deviation",
    "net.resize_step": "random sizes are multiples of it",
    "net.dynamic_minibatch": "1: with `random`, small inputs make larger sub-batches, the batch stays",
    "net.ema_alpha": "share of the old average in the average of the weights, from the middle of a run on",
    # layers
    "activation": "activation; an unknown one is an error",
    "batch_normalize": "1: batch normalisation",
    "stride": "step of the window",
    "stride_x": "step to the right",
    "stride_y": "step down",
    "groups": "parts into which the channels are divided",
    "antialiasing": "1: a 3 x 3 blur takes the stride; 2: a 2 x 2 one",
    "cbn": "1: the same as `batch_normalize=2`",
    "share_index": "the layer whose weights and normalisation this one computes with; negative counts back. Darknet "
    "takes the step once for each layer that shares them, here it is taken once",
    "convolutional.batch_normalize": "1: batch normalisation; 2 is the same as 1 unless `bn=cross` is given",
    "convolutional.filters": "output channels",
    "convolutional.size": "side of the kernel",
    "convolutional.pad": "1: half the kernel on each side, whatever `padding` says",
    "convolutional.padding": "pixels added on each side",
    "convolutional.dilation": "distance of the kernel's pixels; multiplies the padding too",
    "size": "side of the window",
    "padding": "pixels added, both sides together; the smaller half before",
    "maxpool.maxpool_depth": "1: the maximum is taken over channels instead of places",
    "maxpool.out_channels": "channels that then come out",
    "dropout.probability": "share that is dropped in training",
    "dropout.dropblock": "1: whole squares of a channel are dropped; only in this section",
    "dropout.dropblock_size_rel": "side of such a square, as a share of the map's",
    "dropout.dropblock_size_abs": "side of such a square",
    "softmax.groups": "runs of values that each add up to one",
    "softmax.temperature": "divides the values first",
    "softmax.noloss": "no effect: the layer has no loss here",
    "route.layers": "layers that are joined; negative ones count back from here",
    "route.groups": "each source is cut into so many parts",
    "route.group_id": "the part that is taken",
    "from": "layer that is read too; a negative one counts back from here",
    "shortcut.from": "layers that are added; negative ones count back from here",
    "shortcut.alpha": "factor on the layer before",
    "shortcut.beta": "factor on `from`",
    "shortcut.weights_type": "`none`, or learned weights: `per_feature`, `per_layer` (the same), `per_channel`",
    "shortcut.weights_normalization": "`none`, `relu`, `avg_relu` (the same) or `softmax`: how they add up to one",
    "scale_channels.scale_wh": "1: a factor for each place instead of each channel",
    "upsample.stride": "factor by which the map grows; negative: shrinks, windows are summed",
    "upsample.scale": "factor on the values",
    "reorg.stride": "pixels of a block",
    "reorg3d.stride": "pixels of a block",
    "reverse": "1: channels to space",
    "connected.output": "number of outputs",
    "crop.crop_height": "height that is cut out of the middle",
    "crop.crop_width": "width that is cut out of the middle",
    "crop.noadjust": "0: values go from [0, 1] to [-1, 1]",
    # heads
    "classes": "number of classes",
    "num": "number of anchors",
    "mask": "anchors that this head predicts",
    "anchors": "widths and heights in input pixels",
    "region.anchors": "widths and heights in cells of the grid",
    "max": "boxes of an image that count",
    "jitter": "largest change of place and proportions of a training image (of the last head)",
    "resize": "the image gets up to so many times larger or smaller (of the last head)",
    "random": "1: new input size every 10 updates, up to 1.4 times; or another factor (of the last head)",
    "ignore_thresh": "a box that overlaps a truth by more does not learn that it is none",
    "truth_thresh": "a box that overlaps a truth by more learns it too",
    "scale_x_y": "stretches the centre about the middle of its cell",
    "new_coords": "1: logistic values come in; the width is `anchor * (2 v)²`",
    "iou_loss": "`mse`, `iou`, `giou`, `diou` or `ciou`",
    "iou_normalizer": "weight of the box loss",
    "obj_normalizer": "weight of the objectness",
    "cls_normalizer": "weight of the classes; only together with `counters_per_class`, as in Darknet",
    "delta_normalizer": "weight of the whole gradient, as in Darknet's GPU code",
    "iou_thresh": "below 1: other anchors that fit a truth better than this learn it too",
    "iou_thresh_kind": "how that fit is measured; as `iou_loss`",
    "max_delta": "bound on the numbers of an IoU loss's gradient, and on the weight of a class",
    "label_smooth_eps": "e: targets are 1 - e/2 and e/2",
    "focal_loss": "1: focal weight on the classes",
    "counters_per_class": "boxes of each class; rare classes weigh more",
    "objectness_smooth": "1: objectness follows the overlap",
    "Gaussian_yolo.objectness_smooth": "0 alone: not built for this head",
    "show_details": "0: the printed cost of an IoU loss is the squared length of its gradient",
    "nms_kind": "suppression of `detector` and `map`: `default`, `greedynms`, `diounms`; `cornersnms` is `default`",
    "beta_nms": "exponent of `diounms`",
    "uc_normalizer": "weight of the uncertainties",
    "region.softmax": "1: one class of all; 0: each by itself",
    "region.background": "1: a class for no object in the place of objectness",
    "region.thresh": "a box that overlaps a truth by more does not learn that it is none",
    "region.rescore": "1: objectness learns the overlap instead of 1",
    "region.bias_match": "1: a truth goes to the anchor of the best size; 0: to the predicted size",
    "region.coord_scale": "weight of the boxes",
    "region.object_scale": "weight of objectness where an object is",
    "region.noobject_scale": "weight of objectness where none is",
    "region.class_scale": "weight of the classes",
    "region.tree": "file with a hierarchy of classes",
    "region.map": "file with the place of every class in the hierarchy",
}  # fmt: skip

#: Why keys are accepted and do nothing: text, then keys.
WITHOUT_EFFECT: tuple[tuple[str, str], ...] = (
    ("SGD with momentum is used, as on Darknet's CPU", "adam B1 B2 eps"),
    ("for classifiers; detection does not read it", "aspect max_crop min_crop center net.label_smooth_eps"),
    ("the input is width x height x channels", "inputs"),
    ("for training without labels", "notruth net.random unsupervised"),
    ("weights are not clipped; `max_norm=` clips the gradient", "clip"),
    ("a key of `[dropout]`", "dropblock"),
    ("all layers learn, or none before `stopbackward`", "burnin_update dont_update train_only_bn"),
    ("memory and speed are torch's business", "optimized_memory workspace_size_limit_MB use_cuda_graph cudnn_half "
     "stream wait_stream"),
    ("half precision is `amp=`, with a scale of its own", "loss_scale"),
    ("an update that is no number is left out anyway", "try_fix_nan"),
    ("of Darknet's chart", "max_chart_loss"),
    ("for networks that track through a video", "track augment_speed seq_scales sequential_subdivisions "
     "reset_seq_every track_history_size track_ciou_norm sim_thresh dets_for_track dets_for_show embedding_layer"),
    ("for contrastive learning", "contrastive contrastive_color contrastive_jit_flip"),
    ("rejects boxes or weights by chance of their loss; all are used here", "badlabels_reject_threshold "
     "badlabels_rejection_percentage num_sigmas_reject_badlabels equidistant_point weights_reject_freq"),
    ("attacks and maps of attention are not here", "adversarial_lr attention"),
    ("a key of other programs", "gpu_index log_step save_weights momentum_min beta1 beta2 detection_gain temp"),
    ("classes keep their numbers", "yolo.map Gaussian_yolo.map"),
    ("of the first YOLO", "absolute log mask_scale sqrt"),
    ("classifiers are not trained here", "cost.type cost.scale cost.ratio cost.noobj cost.thresh"),
    ("images are varied before the network", "crop.angle crop.exposure crop.flip crop.saturation crop.shift"),
    ("has no effect by itself", "convolutional.angle flipped bin_output coordconv grad_centr"),
)  # fmt: skip

#: Why keys that would change the output are refused unless they have the one value.
REFUSED: dict[str, str] = {
    "binary": "weights of one bit", "xnor": "weights and maps of one bit",
    "assisted_excitation": "the truth as a help in training",
    "sway": "deformed kernels", "rotate": "deformed kernels", "stretch": "deformed kernels",
    "stretch_sway": "deformed kernels", "deform": "deformed kernels", "maxpool_zero_nonmax": "zeros beside the maximum",
    "tree": "a hierarchy is a key of `[region]`", "spatial": "softmax over places", "extra": "appended zeros",
    "flatten": "another order", "yolo_point": "corners in the place of the centre", "classfix": "other classes",
    "coords": "other numbers than x, y, width and height",
}  # fmt: skip

#: Defaults that the dataclass cannot say: they hang on another key, on the flavour, or there is none.
DEFAULTS: dict[str, str] = {
    "share_index": "own weights",
    "net.width": "must be given", "net.height": "must be given", "net.channels": "must be given", "net.steps": "none",
    "net.scales": "none", "net.max_batches": "0: must be given somewhere", "net.sgdr_cycle": "`max_batches`",
    "stride_x": "`stride`", "stride_y": "`stride`", "size": "`stride`", "padding": "`size` - 1",
    "dropout.probability": "0.5; AlexeyAB 0.2", "route.layers": "must be given", "from": "must be given",
    "mask": "all", "anchors": "must be given", "max": "90; AlexeyAB 200", "region.max": "30; AlexeyAB 200",
    "max_delta": "no bound", "iou_normalizer": "0.75; pjreddie 1", "counters_per_class": "none", "region.tree": "none",
    "region.map": "none", "convolutional.size": "1", "convolutional.padding": "0",
}  # fmt: skip

#: Beside ``ALEXEYAB_KEYS`` and ``ALEXEYAB_SECTIONS``, which tell the flavour: what only one Darknet reads.
ALEXEYAB_ALONE = frozenset(
    "net.flip unsupervised contrastive contrastive_color contrastive_jit_flip adversarial_lr attention augment_speed "
    "badlabels_reject_threshold badlabels_rejection_percentage num_sigmas_reject_badlabels equidistant_point "
    "weights_reject_freq seq_scales burnin_update dont_update train_only_bn dropblock dropblock_size_rel "
    "dropblock_size_abs out_channels maxpool_zero_nonmax route.groups stream wait_stream sway rotate stretch "
    "stretch_sway deform share_index assisted_excitation convolutional.angle bin_output coordconv grad_centr "
    "track_history_size track_ciou_norm sim_thresh dets_for_track dets_for_show embedding_layer yolo_point "
    "uc_normalizer".split()
)
PJREDDIE_ALONE = frozenset(
    "notruth net.random center smooth truth numload dontsave alpha beta background extra flatten".split()
)
NEITHER = frozenset(
    "gpu_index log_step save_weights momentum_min beta1 beta2 detection_gain temp reset_seq_every cudnn_half".split()
)
#: Sections that pjreddie's Darknet alone has, or AlexeyAB's alone without telling the flavour.
PJREDDIE_SECTIONS, OTHER_ALEXEYAB_SECTIONS = frozenset({"l2norm"}), frozenset({"empty"})
