"""The flags of Darknet's ``detector``: what each does here, or why it does nothing.

Source: darknet ``run_detector`` in examples/detector.c; AlexeyAB's in src/detector.c; ``main`` in both.
"""

from __future__ import annotations

from dataclasses import dataclass

TRAIN, TEST, VALID, MAP, RECALL, ANCHORS = "train", "test", "valid", "map", "recall", "calc_anchors"
NETWORKS = (TRAIN, TEST, VALID, MAP, RECALL)
ALL = (*NETWORKS, ANCHORS)


@dataclass(frozen=True)
class Flag:
    """A flag: ``value`` names what follows it, or is empty; ``kind`` is its type; ``acts`` where it does something.

    ``tip`` says what it does, ``why`` why it does nothing where it does not.
    """

    name: str
    value: str = ""
    kind: type = str
    acts: tuple[str, ...] = ()
    tip: str = ""
    why: str = ""


DEMO = "of detector demo; yolo-subbatch predict source=video.mp4 or source=0 takes videos and cameras"
NO_SERVER = "nothing is streamed from here; yolo-subbatch gui shows a run live"
FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag("-clear", "", bool, (TRAIN,), "start at iteration 0, whatever the weights file has seen",
             why="only training has iterations"),
        Flag("-map", "", bool, (TRAIN,), "measure mAP after every epoch and keep the best weights",
             why="detector train measures on the way; detector map is the command"),
        Flag("-dont_show", "", bool, ALL, "nothing: no window is opened anyway"),
        Flag("-gpus", "0,1", str, NETWORKS, "these GPUs; batch and rate of training are multiplied, as in Darknet",
             why="no network is run"),
        Flag("-i", "N", int, NETWORKS, "this GPU; -1 is the CPU", why="no network is run"),
        Flag("-nogpu", "", bool, NETWORKS, "use the CPU", why="no network is run"),
        Flag("-thresh", ".25", float, (TEST, MAP), "least confidence of a box that is shown or counted",
             why="detector test and map have it; this command counts at thresholds of its own"),
        Flag("-iou_thresh", ".5", float, (MAP,), "overlap above which a box is a hit",
             why="it is the threshold of detector map; a run's own mAP has 0.5 and 0.5 to 0.95"),
        Flag("-points", "0", int, (MAP,), "recalls at which precision is averaged: 0 (area), 11 or 101",
             why="it is the mean of detector map"),
        Flag("-letter_box", "", bool, NETWORKS, "keep the proportions of images; also letter_box=1 in the cfg",
             why="no image is read"),
        Flag("-out", "FILE", str, (TEST, VALID), "JSON file of what is found (test); start of the files' names (valid)",
             why="this command prints its result"),
        Flag("-ext_output", "", bool, (TEST,), "print the boxes too", why="only detector test prints boxes"),
        Flag("-save_labels", "", bool, (TEST,), "write what is found as the images' label files",
             why="only detector test finds labels"),
        Flag("-num_of_clusters", "5", int, (ANCHORS,), "how many anchors", why="it belongs to detector calc_anchors"),
        Flag("-width", "416", int, (ANCHORS,), "the network's width in pixels", why="the cfg says the width"),
        Flag("-height", "416", int, (ANCHORS,), "the network's height in pixels", why="the cfg says the height"),
        Flag("-show", "", bool, (ANCHORS,), "draw boxes and anchors into cloud.png", why="no window is opened"),
        Flag("-show_imgs", why="the run's folder has train_batch*.jpg, the images as the network gets them"),
        Flag("-check_mistakes", why="labels are always checked, and a wrong one is refused with its line"),
        Flag("-benchmark", why="the terminal shows images per second anyway"),
        Flag("-benchmark_layers", why="yolo-subbatch info shows what each layer costs"),
        Flag("-chart", "FILE", why="the loss is in the run's events.jsonl and results.png; yolo-subbatch gui plots it"),
        Flag("-mAP_epochs", "N", int, why="mAP is measured after every epoch"),
        Flag("-mjpeg_port", "N", int, why=NO_SERVER),
        Flag("-json_port", "N", int, why=NO_SERVER),
        Flag("-http_port", "N", int, why=NO_SERVER),
        Flag("-http_post_host", "HOST", why=NO_SERVER),
        Flag("-hier", ".5", float, (TEST,), "how sure a class of YOLO9000 must be for its subclasses to be asked",
             why="only detector test has it; elsewhere it is 0.5, as in Darknet"),
        Flag("-cuda_debug_sync", why="CUDA_LAUNCH_BLOCKING=1 in the environment does it"),
        Flag("-ngpus", "N", int, why="-gpus names the GPUs, and so says how many they are"),
        Flag("-it_num", "N", int, why="it belongs to detector draw, which is not here"),
        Flag("-class", "N", int, why="it belongs to detector extract and censor, which are not here"),
        Flag("-prefix", "NAME", why=DEMO),
        Flag("-out_filename", "FILE", why=DEMO),
        Flag("-avgframes", "N", int, why=DEMO),
        Flag("-avg", "N", int, why=DEMO),
        Flag("-c", "N", int, why=DEMO),
        Flag("-s", "N", int, why=DEMO),
        Flag("-w", "N", int, why=DEMO),
        Flag("-fps", "N", int, why=DEMO),
        Flag("-fullscreen", why=DEMO),
        Flag("-dontdraw_bbox", why=DEMO),
        Flag("-time_limit_sec", "N", int, why=DEMO),
    )
}  # fmt: skip
