<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1">
<context>
    <name>Actions</name>
    <message>
        <source>Open a run&apos;s folder ...</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>List the runs of another project ...</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Close the window</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop after this update</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop now</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Use its settings in the form</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Open its folder</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete ...</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Keyboard shortcuts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>About</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&amp;File</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&amp;Run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&amp;View</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>&amp;Help</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>As the desktop</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Light</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Dark</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Theme</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>As the system</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Language</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>BatchRow</name>
    <message>
        <source>as few parts as fit into memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>1 image at a time</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{n} images at a time</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>1 image at a time, about {memory}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{n} images at a time, about {memory}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>ChoiceBox</name>
    <message>
        <source>default</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>from the cfg: {value}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>ConfigPane</name>
    <message>
        <source>The cfg in the form</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The cfg of the shown run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Which cfg</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Layers</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No Darknet cfg: this network describes itself.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{cfg}: {layers} layers, {parameters} parameters, {cost} BFLOPs an image</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Console</name>
    <message>
        <source>Console</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What the run prints appears here.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>FailureCard</name>
    <message>
        <source>Use these settings again</source>
        <extracomment>the subdivisions to set in the form, or None to take the settings as they were</extracomment>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Open console</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Try subdivisions {number}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Out of memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Something in the settings is not usable</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The process crashed ({signal})</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The process ended without a word</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The run failed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Correct it in the form and start again; nothing was overwritten.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What the last checkpoint holds is kept: Resume goes on from there.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The console shows all that the process printed.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>One image at a time does not fit: choose a smaller image size, or a smaller network.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Raise subdivisions: the batch stays {batch} and so does every update; batch normalisation then averages over fewer images.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The system ended the process, as it does when memory runs out.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Form</name>
    <message>
        <source>Model and data</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Batching</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Schedule</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>More settings</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Batch ÷ parts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>none: random start</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>automatic</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{key}: not one of these keys; it has a field of its own</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Launcher</name>
    <message>
        <source>{name} is running; stop it first</source>
        <extracomment>a RunFolder whose process was just started something could not be done, in words the list of runs is another one</extracomment>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>LayersModel</name>
    <message>
        <source>Layer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Kind</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Filters</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Size / stride</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Input</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Output</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>BFLOPs</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Parameters</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>MainWindow</name>
    <message>
        <source>Console</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Predictions</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Config</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{folder}: it is safe to close this window, training keeps going</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{folder}: waits until the device is free and a window is open</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name} exists already; this run goes to {folder}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The settings are in the form; Start begins a new run with them</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Open a run&apos;s folder</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>List the runs of another project</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Messages</name>
    <message>
        <source>Delete {name} with its weights, plots and events for good?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete a run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Keyboard shortcuts</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet&apos;s batch and subdivisions, exactly, inside Ultralytics. Version {version}, AGPL-3.0.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>PathField</name>
    <message>
        <source>Choose a file …</source>
        <extracomment>where the dialogue opens while the field names no place itself</extracomment>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose a folder …</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Predictions</name>
    <message>
        <source>The pictures of each validation appear here: what the network finds in them.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Previous picture</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Next picture</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>after iteration {step}  ·  {name}  ·  {place} of {total}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>PresetBar</name>
    <message>
        <source>Save preset …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete preset</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Save or delete presets</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Last used</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Name of the preset:</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Delete the preset {name}?</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>There is a preset {name}. Replace it?</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Presets</name>
    <message>
        <source>Shapes demo (160)</source>
        <extracomment>What belongs to the user&apos;s data and computer, and stays when another network is chosen.</extracomment>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{path}: cannot be read ({reason}); save the preset again</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{name}: not a name for a preset; give a plain one</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{path}: cannot be written ({reason})</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>ReadyCard</name>
    <message>
        <source>Checking …</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>the device</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Queue after current run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ready</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not ready yet</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>and {count} more</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>cfg: {layers} layers, {heads} heads, {classes} classes</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>data: {train} train / {val} val images</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>run: {iterations} iterations, {epochs} epochs</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{device} is busy with {name}</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>RunsModel</name>
    <message>
        <source>Run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>State or best mAP</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>no memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{share} % of its iterations</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>best mAP@0.5 {value} %</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Check it to compare its loss with the run that is shown.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>RunsPane</name>
    <message>
        <source>Runs</source>
        <extracomment>the RunFolder that the user wants to see</extracomment>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No run yet. The first one appears here.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>SetupPane</name>
    <message>
        <source>Preset</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Last used</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>Span</name>
    <message>
        <source>{seconds} s</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{minutes} min</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{hours} h {minutes} min</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{days} d {hours} h</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>State</name>
    <message>
        <source>prepared</source>
        <extracomment>A sign for every state, so that none is told by its colour alone.</extracomment>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>queued</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>starting</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>running</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>stopping</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>completed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>stopped</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>failed</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>StatusCard</name>
    <message>
        <source>Progress of the run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop now (loses the updates since the last checkpoint)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>No run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Choose what to train on the left, then Start</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>reading {percent} %</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>loading torch and the data, some seconds</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>iteration {done} of {total}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>{span} left</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>after {span}</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>loss (avg)</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>best accuracy</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>best mAP@0.5</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>learning rate</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>grad norm / clip</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>images / s</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>GPU memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Take out of the queue</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop now</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stopping after this update ...</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop after this update</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>The run can be resumed later.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>TrainSettings</name>
    <message>
        <source>Network</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Data</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Batch</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Length</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Optimizer</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Augmentation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Loss</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Run</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ultralytics</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Cfg</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Model</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Weights</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Flavour</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Image size</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Letterbox</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Subdivisions</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Memory</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Clip</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Norm</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>BatchNorm</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Exact normaliser</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Batch per GPU</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Epochs</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Iterations</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Patience</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Bad updates</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Schedule</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Images seen</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Learning rate</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Momentum</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Decay</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Burn-in</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Power</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Policy</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Steps</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Scales</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Step</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Scale</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Gamma</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Least rate</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Random size</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Jitter</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Hue</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Saturation</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Exposure</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Flip</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Angle</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Ignore threshold</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Truth threshold</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Device</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Workers</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Half precision</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Seed</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Project</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Name</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Resume</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Save every</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Prepared folder</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>More keys</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet cfg to train: a file, or a bundled name such as yolov3-tiny.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Instead of cfg: the .pt of an earlier run, or any Ultralytics .yaml or .pt.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet weights to start from, also a backbone such as darknet53.conv.74.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Whose Darknet decides where the two differ.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Input size in pixels, or height,width; the cfg&apos;s if not given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>How validation images are fitted to the network.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Images per weight update.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Parts in which a batch is computed; auto: as few as fit into memory.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>What subdivisions=auto may use, such as 8GB; all that is free if not given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Largest norm of a batch&apos;s gradient; 0 or inf: not clipped.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Kind of that norm.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Its statistics: of each sub-batch as in Darknet, frozen, or gathered.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Make Ultralytics&apos; own losses independent of subdivisions.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet&apos;s way: batch and learning rate are multiplied by the GPUs.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Passes over the data; what max_batches means if not given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Weight updates from the first to the last.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop after so many epochs without a better mAP; 0: never.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Stop after so many updates in a row without finite numbers; 0: never.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Fit the cfg&apos;s schedule to the length of the run, or keep its exact numbers.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start at iteration 0, or keep the weights file&apos;s place in the schedule.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Learning rate (also lr0).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Momentum.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Weight decay (also weight_decay).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Iterations in which the rate rises.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Exponent of the burn-in and of policy=poly.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>How the rate falls.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Iterations at which the rate changes (policy=steps).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Factor on the rate at each of the steps.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Iterations between changes (policy=step).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Factor of each change (policy=step).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Base (policy=exp) or slope (policy=sigmoid).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Rate at the end of each cycle (policy=sgdr).</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Darknet&apos;s, or Ultralytics&apos; with its own keys.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>New input size every 10 updates: 0 off, 1 up to 1.4 times, or a factor.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Largest change of proportions and place, as a share of the image.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Largest shift of the hue.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Largest factor on the saturation; 1: unchanged.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Largest factor on the brightness; 1: unchanged.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Mirror every second image or none.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Not used for detection, as in Darknet.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Overlap from which a box that is not responsible is not punished.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Overlap from which such a box learns the object too.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>cpu, 0 or 0,1; the first GPU if not given.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Processes that load images.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>False, True (float16, on a GPU) or bf16.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Start of every random number.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Folder that holds the runs.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Name of the run&apos;s folder; a taken one gets a number.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Go on with the run in this folder as if it had never ended.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Iterations after which resume can go on, besides every epoch; 0: epochs only.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Use this folder and the settings.json in it, alone.</source>
        <translation type="unfinished"></translation>
    </message>
    <message>
        <source>Other training keys of Ultralytics.</source>
        <translation type="unfinished"></translation>
    </message>
</context>
<context>
    <name>_Box</name>
    <message>
        <source>none</source>
        <translation type="unfinished"></translation>
    </message>
</context>
</TS>
