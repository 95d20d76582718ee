<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN" sourcelanguage="en">
<context>
    <name>Actions</name>
    <message>
        <source>Open a run&apos;s folder ...</source>
        <translation>打开训练文件夹……</translation>
    </message>
    <message>
        <source>List the runs of another project ...</source>
        <translation>列出另一个项目的训练……</translation>
    </message>
    <message>
        <source>Close the window</source>
        <translation>关闭窗口</translation>
    </message>
    <message>
        <source>Stop after this update</source>
        <translation>本次更新后停止</translation>
    </message>
    <message>
        <source>Stop now</source>
        <translation>立即停止</translation>
    </message>
    <message>
        <source>Resume</source>
        <translation>继续训练</translation>
    </message>
    <message>
        <source>Use its settings in the form</source>
        <translation>把它的设置填入表单</translation>
    </message>
    <message>
        <source>Open its folder</source>
        <translation>打开它的文件夹</translation>
    </message>
    <message>
        <source>Delete ...</source>
        <translation>删除……</translation>
    </message>
    <message>
        <source>Export ONNX ...</source>
        <translation>导出 ONNX……</translation>
    </message>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>键盘快捷键</translation>
    </message>
    <message>
        <source>About</source>
        <translation>关于</translation>
    </message>
    <message>
        <source>&amp;File</source>
        <translation>文件(&amp;F)</translation>
    </message>
    <message>
        <source>&amp;Run</source>
        <translation>训练(&amp;R)</translation>
    </message>
    <message>
        <source>&amp;View</source>
        <translation>视图(&amp;V)</translation>
    </message>
    <message>
        <source>&amp;Help</source>
        <translation>帮助(&amp;H)</translation>
    </message>
    <message>
        <source>As the desktop</source>
        <translation>跟随桌面</translation>
    </message>
    <message>
        <source>Light</source>
        <translation>浅色</translation>
    </message>
    <message>
        <source>Dark</source>
        <translation>深色</translation>
    </message>
    <message>
        <source>Theme</source>
        <translation>主题</translation>
    </message>
    <message>
        <source>As the system</source>
        <translation>跟随系统</translation>
    </message>
    <message>
        <source>Language</source>
        <translation>语言</translation>
    </message>
</context>
<context>
    <name>BatchRow</name>
    <message>
        <source>as few parts as fit into memory</source>
        <translation>在显存允许下分得尽量少</translation>
    </message>
    <message>
        <source>1 image at a time</source>
        <translation>每次 1 张图</translation>
    </message>
    <message>
        <source>{n} images at a time</source>
        <translation>每次 {n} 张图</translation>
    </message>
    <message>
        <source>1 image at a time, about {memory}</source>
        <translation>每次 1 张图，约 {memory}</translation>
    </message>
    <message>
        <source>{n} images at a time, about {memory}</source>
        <translation>每次 {n} 张图，约 {memory}</translation>
    </message>
</context>
<context>
    <name>ChoiceBox</name>
    <message>
        <source>default</source>
        <translation>默认</translation>
    </message>
    <message>
        <source>from the cfg: {value}</source>
        <translation>取自 cfg：{value}</translation>
    </message>
</context>
<context>
    <name>ConfigPane</name>
    <message>
        <source>The cfg in the form</source>
        <translation>表单中的 cfg</translation>
    </message>
    <message>
        <source>The cfg of the shown run</source>
        <translation>所示训练的 cfg</translation>
    </message>
    <message>
        <source>Which cfg</source>
        <translation>哪个 cfg</translation>
    </message>
    <message>
        <source>Layers</source>
        <translation>层</translation>
    </message>
    <message>
        <source>No Darknet cfg: this network describes itself.</source>
        <translation>没有 Darknet cfg：该网络自带结构描述。</translation>
    </message>
    <message>
        <source>{cfg}: {layers} layers, {parameters} parameters, {cost} BFLOPs an image</source>
        <translation>{cfg}：{layers} 层，{parameters} 个参数，每张图 {cost} BFLOPs</translation>
    </message>
</context>
<context>
    <name>Console</name>
    <message>
        <source>Console</source>
        <translation>控制台</translation>
    </message>
    <message>
        <source>What the run prints appears here.</source>
        <translation>训练的输出显示在这里。</translation>
    </message>
</context>
<context>
    <name>Duration</name>
    <message>
        <source>{seconds} s</source>
        <translation>{seconds} 秒</translation>
    </message>
    <message>
        <source>{minutes} min</source>
        <translation>{minutes} 分</translation>
    </message>
    <message>
        <source>{hours} h {minutes} min</source>
        <translation>{hours} 小时 {minutes} 分</translation>
    </message>
    <message>
        <source>{days} d {hours} h</source>
        <translation>{days} 天 {hours} 小时</translation>
    </message>
</context>
<context>
    <name>ExportCard</name>
    <message>
        <source>The export is at work</source>
        <translation>正在导出</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Open folder</source>
        <translation>打开文件夹</translation>
    </message>
    <message>
        <source>Change and try again ...</source>
        <translation>修改后重试……</translation>
    </message>
    <message>
        <source>Show what it printed</source>
        <translation>查看完整输出</translation>
    </message>
    <message>
        <source>Hide</source>
        <translation>隐藏</translation>
    </message>
    <message>
        <source>Cancelling the export ...</source>
        <translation>正在取消导出……</translation>
    </message>
    <message>
        <source>Exporting to {file} ... {span}</source>
        <translation>正在导出到 {file}……{span}</translation>
    </message>
    <message>
        <source>Exported: {file}, {size}</source>
        <translation>已导出：{file}，{size}</translation>
    </message>
    <message>
        <source>The export was cancelled; no file was written</source>
        <translation>导出已取消；没有写入文件</translation>
    </message>
    <message>
        <source>The export ran out of memory</source>
        <translation>导出时内存不足</translation>
    </message>
    <message>
        <source>The export is not possible this way</source>
        <translation>无法这样导出</translation>
    </message>
    <message>
        <source>The export crashed ({signal})</source>
        <translation>导出进程崩溃（{signal}）</translation>
    </message>
    <message>
        <source>The export ended without a word</source>
        <translation>导出进程没有留下任何信息就结束了</translation>
    </message>
    <message>
        <source>The export failed; the file was not kept</source>
        <translation>导出失败；文件未保留</translation>
    </message>
    <message>
        <source>loading torch, some seconds; it continues if this window is closed</source>
        <translation>正在加载 torch，需要几秒钟；关闭窗口后导出仍会继续</translation>
    </message>
</context>
<context>
    <name>ExportDesk</name>
    <message>
        <source>{name}: exported</source>
        <extracomment>whether the run that is shown can be exported now an export, of whatever run how the export of a run that is not shown has ended, in words something could not be done, in words</extracomment>
        <translation>{name}：已导出</translation>
    </message>
    <message>
        <source>{name}: not exported; choose the run to see why</source>
        <translation>{name}：未能导出；选择该训练查看原因</translation>
    </message>
</context>
<context>
    <name>ExportDialog</name>
    <message>
        <source>Export {name} as ONNX</source>
        <translation>将 {name} 导出为 ONNX</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>导出</translation>
    </message>
    <message>
        <source>The file is compared with the network before it is kept. That takes up to a minute, on the CPU.</source>
        <translation>文件会先与网络比对，一致才保留。这在 CPU 上进行，最多需要一分钟。</translation>
    </message>
</context>
<context>
    <name>ExportForm</name>
    <message>
        <source>More settings</source>
        <extracomment>The cards, in two columns; the last one, of settings that are rarely needed, is folded. What another setting has to be for these to mean anything.</extracomment>
        <translation>更多设置</translation>
    </message>
    <message>
        <source>to={file}: exists; an earlier export is replaced, anything else is not overwritten</source>
        <translation>to={file}：已存在；以前导出的文件会被替换，其他文件不会被覆盖</translation>
    </message>
</context>
<context>
    <name>Exports</name>
    <message>
        <source>{name}: is being exported already; wait until that is done, or cancel it</source>
        <extracomment>How lines begin that tell how far the file agrees with the network. an Export that has begun, printed something or ended something could not be done, in words</extracomment>
        <translation>{name}：已经在导出；请等它完成，或先取消</translation>
    </message>
    <message>
        <source>{folder}: the export cannot be started ({reason}); check that it may be written to</source>
        <translation>{folder}：无法开始导出（{reason}）；请检查该文件夹是否可写</translation>
    </message>
</context>
<context>
    <name>FailureCard</name>
    <message>
        <source>Use these settings again</source>
        <extracomment>the subdivisions to set in the form, or None to take the settings as they were</extracomment>
        <translation>再次使用这些设置</translation>
    </message>
    <message>
        <source>Resume</source>
        <translation>继续训练</translation>
    </message>
    <message>
        <source>Open console</source>
        <translation>打开控制台</translation>
    </message>
    <message>
        <source>Try subdivisions {number}</source>
        <translation>改用子批数 {number}</translation>
    </message>
    <message>
        <source>Ended by the system, probably out of memory</source>
        <translation>进程被系统终止，很可能是内存不足</translation>
    </message>
    <message>
        <source>Out of memory</source>
        <translation>显存或内存不足</translation>
    </message>
    <message>
        <source>Something in the settings is not usable</source>
        <translation>设置中有无法使用的内容</translation>
    </message>
    <message>
        <source>The process crashed ({signal})</source>
        <translation>进程崩溃（{signal}）</translation>
    </message>
    <message>
        <source>The process ended without a word</source>
        <translation>进程没有留下任何信息就结束了</translation>
    </message>
    <message>
        <source>The run failed</source>
        <translation>训练失败</translation>
    </message>
    <message>
        <source>Correct it in the form and start again; nothing was overwritten.</source>
        <translation>请在表单中更正后重新开始；没有覆盖任何文件。</translation>
    </message>
    <message>
        <source>What the last checkpoint holds is kept: Resume continues from there.</source>
        <translation>最后一个检查点已保留：“继续训练”将从那里接着进行。</translation>
    </message>
    <message>
        <source>The console shows all that the process printed.</source>
        <translation>控制台显示进程的全部输出。</translation>
    </message>
    <message>
        <source>One image at a time does not fit: choose a smaller image size, or a smaller network.</source>
        <translation>一次一张图也放不下：请减小图像尺寸，或换用更小的网络。</translation>
    </message>
    <message>
        <source>Raise subdivisions: the batch stays {batch} and so does every update; batch normalisation then averages over fewer images.</source>
        <translation>请增大子批数（subdivisions）：批次仍为 {batch}，每次更新不变；只是批归一化的统计来自更少的图像。</translation>
    </message>
    <message>
        <source>The system ended the process, as it does when memory runs out.</source>
        <translation>系统终止了进程，内存耗尽时就会这样。</translation>
    </message>
</context>
<context>
    <name>Form</name>
    <message>
        <source>Model and data</source>
        <translation>模型与数据</translation>
    </message>
    <message>
        <source>Batching</source>
        <translation>批次</translation>
    </message>
    <message>
        <source>Schedule</source>
        <translation>训练计划</translation>
    </message>
    <message>
        <source>More settings</source>
        <translation>更多设置</translation>
    </message>
    <message>
        <source>Batch ÷ parts</source>
        <translation>批次 ÷ 子批</translation>
    </message>
    <message>
        <source>none: random start</source>
        <translation>无：随机初始化</translation>
    </message>
    <message>
        <source>automatic</source>
        <translation>自动</translation>
    </message>
    <message>
        <source>{key}: not one of these keys; it has a field of its own</source>
        <translation>{key}：不属于这些键；它有自己的输入框</translation>
    </message>
</context>
<context>
    <name>Launcher</name>
    <message>
        <source>{folder}: the process cannot be started ({reason})</source>
        <extracomment>a RunFolder whose process was just started something could not be done, in words the list of runs is another one</extracomment>
        <translation>{folder}：无法启动进程（{reason}）</translation>
    </message>
    <message>
        <source>{folder}: cannot be asked to stop ({reason}); stop it at once instead</source>
        <translation>{folder}：无法请求停止（{reason}）；请改用“立即停止”</translation>
    </message>
    <message>
        <source>{name} runs on another machine; stop it there</source>
        <translation>{name} 在另一台机器上训练；请在那里停止</translation>
    </message>
    <message>
        <source>{name} is running; stop it first</source>
        <translation>{name} 正在训练；请先停止它</translation>
    </message>
    <message>
        <source>{folder}: not the folder of a run; it is not deleted</source>
        <translation>{folder}：不是训练文件夹；未删除</translation>
    </message>
</context>
<context>
    <name>LayersModel</name>
    <message>
        <source>Layer</source>
        <translation>层</translation>
    </message>
    <message>
        <source>Kind</source>
        <translation>类型</translation>
    </message>
    <message>
        <source>Filters</source>
        <translation>卷积核数</translation>
    </message>
    <message>
        <source>Size / stride</source>
        <translation>大小 / 步长</translation>
    </message>
    <message>
        <source>Input</source>
        <translation>输入</translation>
    </message>
    <message>
        <source>Output</source>
        <translation>输出</translation>
    </message>
    <message>
        <source>BFLOPs</source>
        <translation>BFLOPs</translation>
    </message>
    <message>
        <source>Parameters</source>
        <translation>参数量</translation>
    </message>
</context>
<context>
    <name>Legend</name>
    <message>
        <source>Show or hide this part of the loss</source>
        <translation>显示或隐藏这部分损失</translation>
    </message>
</context>
<context>
    <name>MainWindow</name>
    <message>
        <source>Console</source>
        <translation>控制台</translation>
    </message>
    <message>
        <source>Predictions</source>
        <translation>预测样例</translation>
    </message>
    <message>
        <source>Config</source>
        <translation>网络结构</translation>
    </message>
    <message>
        <source>{folder}: it is safe to close this window, training keeps going</source>
        <translation>{folder}：可以关闭窗口，训练会继续</translation>
    </message>
    <message>
        <source>{folder}: waits until the device is free and a window is open</source>
        <translation>{folder}：等待设备空闲且有窗口打开时开始</translation>
    </message>
    <message>
        <source>{name} exists already; this run goes to {folder}</source>
        <translation>{name} 已存在；本次训练存入 {folder}</translation>
    </message>
    <message>
        <source>{name} has started</source>
        <translation>{name} 已开始</translation>
    </message>
    <message>
        <source>The settings are in the form; Start begins a new run with them</source>
        <translation>设置已填入表单；点“开始”用它们新建训练</translation>
    </message>
    <message>
        <source>Open a run&apos;s folder</source>
        <translation>打开训练文件夹</translation>
    </message>
    <message>
        <source>List the runs of another project</source>
        <translation>列出另一个项目的训练</translation>
    </message>
</context>
<context>
    <name>Marks</name>
    <message>
        <source>burn-in end</source>
        <translation>预热结束</translation>
    </message>
    <message>
        <source>lr step</source>
        <translation>学习率下降</translation>
    </message>
    <message>
        <source>best</source>
        <translation>最佳</translation>
    </message>
    <message>
        <source>best {figure} %</source>
        <translation>最佳 {figure} %</translation>
    </message>
</context>
<context>
    <name>Messages</name>
    <message>
        <source>Delete {name} with its weights, plots and events for good?</source>
        <translation>永久删除 {name} 及其权重、图表和事件？</translation>
    </message>
    <message>
        <source>Delete a run</source>
        <translation>删除训练</translation>
    </message>
    <message>
        <source>Delete</source>
        <translation>删除</translation>
    </message>
    <message>
        <source>Keyboard shortcuts</source>
        <translation>键盘快捷键</translation>
    </message>
    <message>
        <source>Darknet&apos;s batch and subdivisions, exactly, inside Ultralytics. Version {version}, AGPL-3.0.</source>
        <translation>在 Ultralytics 中精确实现 Darknet 的 batch 与 subdivisions。版本 {version}，AGPL-3.0。</translation>
    </message>
</context>
<context>
    <name>OutputDialog</name>
    <message>
        <source>Nothing was printed.</source>
        <translation>没有任何输出。</translation>
    </message>
</context>
<context>
    <name>PathField</name>
    <message>
        <source>Choose a file …</source>
        <extracomment>where the dialogue opens while the field names no place itself</extracomment>
        <translation>选择文件……</translation>
    </message>
    <message>
        <source>Choose a folder …</source>
        <translation>选择文件夹……</translation>
    </message>
    <message>
        <source>All files (*)</source>
        <translation>所有文件 (*)</translation>
    </message>
</context>
<context>
    <name>PlotPane</name>
    <message>
        <source>Log</source>
        <translation>对数</translation>
    </message>
    <message>
        <source>Follow</source>
        <translation>跟随</translation>
    </message>
    <message>
        <source>Logarithmic loss</source>
        <translation>对数损失</translation>
    </message>
    <message>
        <source>Draw the loss on a logarithmic axis</source>
        <translation>用对数坐标轴绘制损失</translation>
    </message>
    <message>
        <source>Follow the newest iteration</source>
        <translation>跟随最新迭代</translation>
    </message>
    <message>
        <source>Keep the newest iteration in view; drag and wheel move and zoom, a double click shows everything</source>
        <translation>保持最新迭代可见；拖动平移，滚轮缩放，双击显示全部</translation>
    </message>
    <message>
        <source>Pause drawing</source>
        <translation>暂停绘制</translation>
    </message>
    <message>
        <source>Show everything</source>
        <translation>显示全部</translation>
    </message>
    <message>
        <source>Plots as PNG ...</source>
        <translation>图表存为 PNG……</translation>
    </message>
    <message>
        <source>Numbers as CSV ...</source>
        <translation>数据存为 CSV……</translation>
    </message>
    <message>
        <source>This run ended before its first iteration.</source>
        <translation>该训练在第一次迭代前就结束了。</translation>
    </message>
    <message>
        <source>The curves begin with the first iteration.</source>
        <translation>曲线从第一次迭代开始。</translation>
    </message>
    <message>
        <source>Choose a cfg and a data set on the left</source>
        <translation>在左侧选择 cfg 和数据集</translation>
    </message>
    <message>
        <source>Check that the lines above Start are green (✓)</source>
        <translation>确认“开始”上方各行为绿色（✓）</translation>
    </message>
    <message>
        <source>Press Start</source>
        <translation>点“开始”</translation>
    </message>
    <message>
        <source>The loss, mAP, gradient and learning rate of a run appear here, live</source>
        <translation>训练的损失、mAP、梯度和学习率实时显示在这里</translation>
    </message>
    <message>
        <source>{file} cannot be written: {reason}. Choose another place.</source>
        <translation>无法写入 {file}：{reason}。请另选位置。</translation>
    </message>
    <message>
        <source>Save the plots</source>
        <translation>保存图表</translation>
    </message>
    <message>
        <source>Pictures (*.png)</source>
        <translation>图片 (*.png)</translation>
    </message>
    <message>
        <source>Save the numbers</source>
        <translation>保存数据</translation>
    </message>
    <message>
        <source>Tables (*.csv)</source>
        <translation>表格 (*.csv)</translation>
    </message>
</context>
<context>
    <name>PlotTools</name>
    <message>
        <source>Smoothing</source>
        <translation>平滑</translation>
    </message>
    <message>
        <source>How much of the average so far each new number leaves; 0: no average</source>
        <translation>每个新值保留多少此前的平均值；0：不平均</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>导出</translation>
    </message>
</context>
<context>
    <name>Plots</name>
    <message>
        <source>|g|</source>
        <translation>|g|</translation>
    </message>
    <message>
        <source>accuracy</source>
        <translation>准确率</translation>
    </message>
    <message>
        <source>lr</source>
        <translation>学习率</translation>
    </message>
    <message>
        <source>images / s</source>
        <translation>图 / 秒</translation>
    </message>
    <message>
        <source>iteration {step}</source>
        <translation>迭代 {step}</translation>
    </message>
    <message>
        <source>loss</source>
        <extracomment>the user zoomed or moved to these iterations a double click</extracomment>
        <translation>损失</translation>
    </message>
    <message>
        <source>mAP</source>
        <translation>mAP</translation>
    </message>
    <message>
        <source>iteration</source>
        <translation>迭代次数</translation>
    </message>
    <message>
        <source>clip {norm}</source>
        <translation>裁剪 {norm}</translation>
    </message>
    <message>
        <source>clipped {share} %</source>
        <translation>已裁剪 {share} %</translation>
    </message>
</context>
<context>
    <name>Predictions</name>
    <message>
        <source>The pictures of each validation appear here: what the network finds in them.</source>
        <translation>每次验证的图片显示在这里：网络在其中找到了什么。</translation>
    </message>
    <message>
        <source>Previous picture</source>
        <translation>上一张</translation>
    </message>
    <message>
        <source>Next picture</source>
        <translation>下一张</translation>
    </message>
    <message>
        <source>after iteration {step}  ·  {name}  ·  {place} of {total}</source>
        <translation>第 {step} 次迭代后  ·  {name}  ·  {place} / {total}</translation>
    </message>
</context>
<context>
    <name>PresetBar</name>
    <message>
        <source>Save preset …</source>
        <translation>保存预设……</translation>
    </message>
    <message>
        <source>Delete preset</source>
        <translation>删除预设</translation>
    </message>
    <message>
        <source>Save or delete presets</source>
        <translation>保存或删除预设</translation>
    </message>
    <message>
        <source>Last used</source>
        <translation>上次使用</translation>
    </message>
    <message>
        <source>Name of the preset:</source>
        <translation>预设名称：</translation>
    </message>
    <message>
        <source>Delete the preset {name}?</source>
        <translation>删除预设 {name}？</translation>
    </message>
    <message>
        <source>There is a preset {name}. Replace it?</source>
        <translation>预设 {name} 已存在。要替换吗？</translation>
    </message>
</context>
<context>
    <name>Presets</name>
    <message>
        <source>Shapes demo (160)</source>
        <extracomment>What belongs to the user&apos;s data and computer, and stays when another network is chosen.</extracomment>
        <translation>形状演示 (160)</translation>
    </message>
    <message>
        <source>{path}: cannot be read ({reason}); save the preset again</source>
        <translation>{path}：无法读取（{reason}）；请重新保存预设</translation>
    </message>
    <message>
        <source>{name}: not a name for a preset; give a plain one</source>
        <translation>{name}：不能用作预设名称；请用普通名称</translation>
    </message>
    <message>
        <source>{path}: cannot be written ({reason})</source>
        <translation>{path}：无法写入（{reason}）</translation>
    </message>
</context>
<context>
    <name>ReadyCard</name>
    <message>
        <source>Checking …</source>
        <translation>正在检查……</translation>
    </message>
    <message>
        <source>the device</source>
        <translation>设备</translation>
    </message>
    <message>
        <source>Queue after current run</source>
        <translation>排队等待当前训练</translation>
    </message>
    <message>
        <source>Start</source>
        <translation>开始</translation>
    </message>
    <message>
        <source>Ready</source>
        <translation>检查通过</translation>
    </message>
    <message>
        <source>Not ready yet</source>
        <translation>尚不能开始</translation>
    </message>
    <message>
        <source>and {number} more</source>
        <translation>还有 {number} 条</translation>
    </message>
    <message>
        <source>cfg: {layers} layers, {heads} heads, {classes} classes</source>
        <translation>配置：{layers} 层，{heads} 个检测头，{classes} 类</translation>
    </message>
    <message>
        <source>data: {train} train / {val} val images</source>
        <translation>数据：训练 {train} / 验证 {val} 张</translation>
    </message>
    <message>
        <source>run: {iterations} iterations, {epochs} epochs</source>
        <translation>训练：{iterations} 次迭代，{epochs} 轮</translation>
    </message>
    <message>
        <source>{device} is busy with {name}</source>
        <translation>{device} 正被 {name} 占用</translation>
    </message>
</context>
<context>
    <name>RunsModel</name>
    <message>
        <source>Run</source>
        <translation>训练</translation>
    </message>
    <message>
        <source>State</source>
        <translation>状态</translation>
    </message>
    <message>
        <source>no memory</source>
        <translation>显存不足</translation>
    </message>
    <message>
        <source>{share} % of its iterations</source>
        <translation>已完成 {share} % 的迭代</translation>
    </message>
    <message>
        <source>best mAP@0.5 {value} %</source>
        <translation>最佳 mAP@0.5 {value} %</translation>
    </message>
    <message>
        <source>Check it to compare its loss with the run that is shown.</source>
        <translation>勾选后可与所示训练比较损失。</translation>
    </message>
</context>
<context>
    <name>RunsPane</name>
    <message>
        <source>Runs</source>
        <extracomment>the RunFolder that the user wants to see</extracomment>
        <translation>历史训练</translation>
    </message>
    <message>
        <source>No run yet. The first one appears here.</source>
        <translation>还没有训练。第一个将显示在这里。</translation>
    </message>
</context>
<context>
    <name>SetupPane</name>
    <message>
        <source>Preset</source>
        <translation>预设</translation>
    </message>
    <message>
        <source>Start</source>
        <translation>开始</translation>
    </message>
    <message>
        <source>Last used</source>
        <translation>上次使用</translation>
    </message>
</context>
<context>
    <name>State</name>
    <message>
        <source>prepared</source>
        <extracomment>A sign for every state, so that none is told by its colour alone.</extracomment>
        <translation>已准备</translation>
    </message>
    <message>
        <source>queued</source>
        <translation>排队中</translation>
    </message>
    <message>
        <source>starting</source>
        <translation>启动中</translation>
    </message>
    <message>
        <source>running</source>
        <translation>训练中</translation>
    </message>
    <message>
        <source>stopping</source>
        <translation>停止中</translation>
    </message>
    <message>
        <source>completed</source>
        <translation>已完成</translation>
    </message>
    <message>
        <source>stopped</source>
        <translation>已停止</translation>
    </message>
    <message>
        <source>failed</source>
        <translation>失败</translation>
    </message>
</context>
<context>
    <name>StatusCard</name>
    <message>
        <source>Progress of the run</source>
        <translation>训练进度</translation>
    </message>
    <message>
        <source>Export ONNX ...</source>
        <translation>导出 ONNX……</translation>
    </message>
    <message>
        <source>Write the trained network as an ONNX file, checked before it is kept</source>
        <translation>把训练好的网络写成 ONNX 文件，核对一致后才保留</translation>
    </message>
    <message>
        <source>Stop now (loses the updates since the last checkpoint)</source>
        <translation>立即停止（丢失上个检查点之后的更新）</translation>
    </message>
    <message>
        <source>No run</source>
        <translation>没有训练</translation>
    </message>
    <message>
        <source>Choose what to train on the left, then Start</source>
        <translation>在左侧选择要训练的内容，然后点“开始”</translation>
    </message>
    <message>
        <source>reading {percent} %</source>
        <translation>读取 {percent} %</translation>
    </message>
    <message>
        <source>loading torch and the data, some seconds</source>
        <translation>正在加载 torch 和数据，需几秒</translation>
    </message>
    <message>
        <source>iteration {done} of {total}</source>
        <translation>第 {done} / {total} 次迭代</translation>
    </message>
    <message>
        <source>{span} left</source>
        <translation>剩余 {span}</translation>
    </message>
    <message>
        <source>after {span}</source>
        <translation>用时 {span}</translation>
    </message>
    <message>
        <source>loss (avg)</source>
        <translation>平均损失</translation>
    </message>
    <message>
        <source>best accuracy</source>
        <translation>最佳准确率</translation>
    </message>
    <message>
        <source>best mAP@0.5</source>
        <translation>最佳 mAP@0.5</translation>
    </message>
    <message>
        <source>learning rate</source>
        <translation>学习率</translation>
    </message>
    <message>
        <source>grad norm / clip</source>
        <translation>梯度范数 / 裁剪</translation>
    </message>
    <message>
        <source>images / s</source>
        <translation>图 / 秒</translation>
    </message>
    <message>
        <source>GPU memory</source>
        <translation>显存</translation>
    </message>
    <message>
        <source>memory</source>
        <translation>内存</translation>
    </message>
    <message>
        <source>Take out of the queue</source>
        <translation>移出队列</translation>
    </message>
    <message>
        <source>Stop now</source>
        <translation>立即停止</translation>
    </message>
    <message>
        <source>Stopping after this update ...</source>
        <translation>等待本次更新完成……</translation>
    </message>
    <message>
        <source>Stop after this update</source>
        <translation>本次更新后停止</translation>
    </message>
    <message>
        <source>The run can be resumed later.</source>
        <translation>之后可以继续该训练。</translation>
    </message>
</context>
<context>
    <name>TrainSettings</name>
    <message>
        <source>Network</source>
        <translation>网络</translation>
    </message>
    <message>
        <source>Data</source>
        <translation>数据集</translation>
    </message>
    <message>
        <source>Batch</source>
        <translation>批次</translation>
    </message>
    <message>
        <source>Length</source>
        <translation>时长</translation>
    </message>
    <message>
        <source>Optimizer</source>
        <translation>优化器</translation>
    </message>
    <message>
        <source>Augmentation</source>
        <translation>数据增强</translation>
    </message>
    <message>
        <source>Loss</source>
        <translation>损失</translation>
    </message>
    <message>
        <source>Run</source>
        <translation>运行</translation>
    </message>
    <message>
        <source>Ultralytics</source>
        <translation>Ultralytics</translation>
    </message>
    <message>
        <source>Input</source>
        <translation>输入</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>Precision</source>
        <translation>精度</translation>
    </message>
    <message>
        <source>Output</source>
        <translation>输出</translation>
    </message>
    <message>
        <source>Cfg</source>
        <translation>配置</translation>
    </message>
    <message>
        <source>Model</source>
        <translation>模型</translation>
    </message>
    <message>
        <source>Weights</source>
        <translation>权重</translation>
    </message>
    <message>
        <source>Flavour</source>
        <translation>Darknet 版本</translation>
    </message>
    <message>
        <source>Image size</source>
        <translation>图像尺寸</translation>
    </message>
    <message>
        <source>Letterbox</source>
        <translation>填充方式</translation>
    </message>
    <message>
        <source>Missing labels</source>
        <translation>缺失的标签</translation>
    </message>
    <message>
        <source>Most pixels</source>
        <translation>最大像素数</translation>
    </message>
    <message>
        <source>Subdivisions</source>
        <translation>子批数</translation>
    </message>
    <message>
        <source>Memory</source>
        <translation>显存</translation>
    </message>
    <message>
        <source>Recompute</source>
        <translation>重新计算</translation>
    </message>
    <message>
        <source>Clip</source>
        <translation>梯度裁剪</translation>
    </message>
    <message>
        <source>Norm</source>
        <translation>范数</translation>
    </message>
    <message>
        <source>BatchNorm</source>
        <translation>批归一化</translation>
    </message>
    <message>
        <source>Exact normaliser</source>
        <translation>精确归一</translation>
    </message>
    <message>
        <source>Batch per GPU</source>
        <translation>每卡批次</translation>
    </message>
    <message>
        <source>Epochs</source>
        <translation>轮数</translation>
    </message>
    <message>
        <source>Iterations</source>
        <translation>迭代次数</translation>
    </message>
    <message>
        <source>Patience</source>
        <translation>耐心轮数</translation>
    </message>
    <message>
        <source>Bad updates</source>
        <translation>无效更新</translation>
    </message>
    <message>
        <source>Schedule</source>
        <translation>训练计划</translation>
    </message>
    <message>
        <source>Images seen</source>
        <translation>已看图像</translation>
    </message>
    <message>
        <source>Learning rate</source>
        <translation>学习率</translation>
    </message>
    <message>
        <source>Momentum</source>
        <translation>动量</translation>
    </message>
    <message>
        <source>Decay</source>
        <translation>权重衰减</translation>
    </message>
    <message>
        <source>Burn-in</source>
        <translation>预热</translation>
    </message>
    <message>
        <source>Power</source>
        <translation>指数</translation>
    </message>
    <message>
        <source>Policy</source>
        <translation>策略</translation>
    </message>
    <message>
        <source>Steps</source>
        <translation>衰减步</translation>
    </message>
    <message>
        <source>Scales</source>
        <translation>衰减系数</translation>
    </message>
    <message>
        <source>Step</source>
        <translation>步长</translation>
    </message>
    <message>
        <source>Scale</source>
        <translation>系数</translation>
    </message>
    <message>
        <source>Gamma</source>
        <translation>Gamma 系数</translation>
    </message>
    <message>
        <source>Least rate</source>
        <translation>最小学习率</translation>
    </message>
    <message>
        <source>Average</source>
        <translation>权重平均</translation>
    </message>
    <message>
        <source>Random size</source>
        <translation>随机尺寸</translation>
    </message>
    <message>
        <source>Jitter</source>
        <translation>抖动</translation>
    </message>
    <message>
        <source>Hue</source>
        <translation>色相</translation>
    </message>
    <message>
        <source>Saturation</source>
        <translation>饱和度</translation>
    </message>
    <message>
        <source>Exposure</source>
        <translation>曝光</translation>
    </message>
    <message>
        <source>Flip</source>
        <translation>翻转</translation>
    </message>
    <message>
        <source>Resize</source>
        <translation>缩放</translation>
    </message>
    <message>
        <source>Keep proportions</source>
        <translation>保持比例</translation>
    </message>
    <message>
        <source>Mosaic bound</source>
        <translation>拼接边界</translation>
    </message>
    <message>
        <source>Blur</source>
        <translation>模糊</translation>
    </message>
    <message>
        <source>Noise</source>
        <translation>噪声</translation>
    </message>
    <message>
        <source>Size step</source>
        <translation>尺寸步长</translation>
    </message>
    <message>
        <source>Angle</source>
        <translation>角度</translation>
    </message>
    <message>
        <source>Ignore threshold</source>
        <translation>忽略阈值</translation>
    </message>
    <message>
        <source>Truth threshold</source>
        <translation>真值阈值</translation>
    </message>
    <message>
        <source>Device</source>
        <translation>设备</translation>
    </message>
    <message>
        <source>Workers</source>
        <translation>读图进程</translation>
    </message>
    <message>
        <source>Half precision</source>
        <translation>半精度</translation>
    </message>
    <message>
        <source>Seed</source>
        <translation>随机种子</translation>
    </message>
    <message>
        <source>Project</source>
        <translation>项目</translation>
    </message>
    <message>
        <source>Name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>Resume</source>
        <translation>继续训练</translation>
    </message>
    <message>
        <source>Save every</source>
        <translation>保存间隔</translation>
    </message>
    <message>
        <source>Keep state</source>
        <translation>保留状态</translation>
    </message>
    <message>
        <source>Trust</source>
        <translation>信任</translation>
    </message>
    <message>
        <source>Prepared folder</source>
        <translation>已备文件夹</translation>
    </message>
    <message>
        <source>More keys</source>
        <translation>更多键</translation>
    </message>
    <message>
        <source>Dynamic</source>
        <translation>动态尺寸</translation>
    </message>
    <message>
        <source>Preprocess</source>
        <translation>内置预处理</translation>
    </message>
    <message>
        <source>Target</source>
        <translation>目标文件</translation>
    </message>
    <message>
        <source>Half</source>
        <translation>半精度</translation>
    </message>
    <message>
        <source>Int8</source>
        <translation>8 位整数</translation>
    </message>
    <message>
        <source>NMS</source>
        <translation>非极大值抑制</translation>
    </message>
    <message>
        <source>Confidence</source>
        <translation>置信度</translation>
    </message>
    <message>
        <source>IoU</source>
        <translation>交并比</translation>
    </message>
    <message>
        <source>Most boxes</source>
        <translation>最多框数</translation>
    </message>
    <message>
        <source>Agnostic NMS</source>
        <translation>跨类别抑制</translation>
    </message>
    <message>
        <source>Raw</source>
        <translation>原始输出</translation>
    </message>
    <message>
        <source>Calibration</source>
        <translation>校准图像数</translation>
    </message>
    <message>
        <source>Opset</source>
        <translation>算子集版本</translation>
    </message>
    <message>
        <source>Simplify</source>
        <translation>简化</translation>
    </message>
    <message>
        <source>Script</source>
        <translation>推理脚本</translation>
    </message>
    <message>
        <source>Darknet cfg to train: a file, or a bundled name such as yolov3-tiny.</source>
        <translation>要训练的 Darknet cfg：文件，或自带的名称，例如 yolov3-tiny。</translation>
    </message>
    <message>
        <source>Instead of cfg: the .pt of an earlier run, or any Ultralytics .yaml or .pt.</source>
        <translation>代替 cfg：以前训练的 .pt，或任何 Ultralytics 的 .yaml 或 .pt。</translation>
    </message>
    <message>
        <source>Darknet weights to start from, also a backbone such as darknet53.conv.74.</source>
        <translation>作为起点的 Darknet 权重，也可以是骨干网络，例如 darknet53.conv.74。</translation>
    </message>
    <message>
        <source>Whose Darknet decides where the two differ.</source>
        <translation>两个 Darknet 不一致时以哪个为准。</translation>
    </message>
    <message>
        <source>Darknet .data or Ultralytics .yaml; the built-in data set shapes if not given.</source>
        <translation>Darknet 的 .data 或 Ultralytics 的 .yaml；不填则用内置数据集 shapes。</translation>
    </message>
    <message>
        <source>Input size in pixels, or height,width; the cfg&apos;s if not given.</source>
        <translation>输入尺寸（像素），或“高,宽”；不填则取自 cfg。</translation>
    </message>
    <message>
        <source>How validation images are fitted to the network.</source>
        <translation>验证图像如何适配网络尺寸。</translation>
    </message>
    <message>
        <source>An image without label file: error (pjreddie&apos;s Darknet), skip or background.</source>
        <translation>没有标签文件的图像：error 报错（pjreddie 的 Darknet）、skip 跳过，或 background 作为背景。</translation>
    </message>
    <message>
        <source>Images of more pixels are left out before they are decoded.</source>
        <translation>像素数超过此值的图像在解码前即被略去。</translation>
    </message>
    <message>
        <source>Images per weight update.</source>
        <translation>每次权重更新的图像数。</translation>
    </message>
    <message>
        <source>Parts in which a batch is computed; auto: as few as fit into memory.</source>
        <translation>一个批次分成几个子批计算；auto：在显存允许下尽量少。</translation>
    </message>
    <message>
        <source>What subdivisions=auto may use, such as 8GB; all that is free if not given.</source>
        <translation>subdivisions=auto 可用的显存（用 CPU 时为内存），例如 8GB；不填则用全部空闲部分。</translation>
    </message>
    <message>
        <source>Keep fewer activations and compute them again: less memory, a third more work.</source>
        <translation>少保留激活值，反向传播时重新计算：显存更少，计算量约多三分之一。</translation>
    </message>
    <message>
        <source>Largest norm of a batch&apos;s gradient; 0 or inf: not clipped.</source>
        <translation>整个批次梯度的最大范数；0 或 inf：不裁剪。</translation>
    </message>
    <message>
        <source>Kind of that norm.</source>
        <translation>范数的种类。</translation>
    </message>
    <message>
        <source>Its statistics: of each sub-batch as in Darknet, frozen, or gathered.</source>
        <translation>统计量来源：像 Darknet 那样取自每个子批，冻结，或跨子批汇总。</translation>
    </message>
    <message>
        <source>Make Ultralytics&apos; own losses independent of subdivisions.</source>
        <translation>使 Ultralytics 自带的损失与子批数无关。</translation>
    </message>
    <message>
        <source>Darknet&apos;s way: batch and learning rate are multiplied by the GPUs.</source>
        <translation>Darknet 的做法：批次和学习率乘以 GPU 数。</translation>
    </message>
    <message>
        <source>Passes over the data; what max_batches means if not given.</source>
        <translation>遍历数据的轮数；不填则由 max_batches 决定。</translation>
    </message>
    <message>
        <source>Weight updates from the first to the last.</source>
        <translation>权重更新的总次数。</translation>
    </message>
    <message>
        <source>Stop after so many epochs without a better mAP; 0: never.</source>
        <translation>mAP 连续这么多轮没有提高就停止；0：从不。</translation>
    </message>
    <message>
        <source>Stop after so many updates in a row without finite numbers; 0: never.</source>
        <translation>连续这么多次更新出现非有限数就停止；0：从不。</translation>
    </message>
    <message>
        <source>Fit the cfg&apos;s schedule to the length of the run, or keep its exact numbers.</source>
        <translation>把 cfg 的计划按训练长度缩放，或保持原数值。</translation>
    </message>
    <message>
        <source>Start at iteration 0, or keep the weights file&apos;s place in the schedule.</source>
        <translation>从第 0 次迭代开始，或沿用权重文件在计划中的位置。</translation>
    </message>
    <message>
        <source>Learning rate (also lr0).</source>
        <translation>学习率（即 lr0）。</translation>
    </message>
    <message>
        <source>Momentum.</source>
        <translation>动量。</translation>
    </message>
    <message>
        <source>Weight decay (also weight_decay).</source>
        <translation>权重衰减（即 weight_decay）。</translation>
    </message>
    <message>
        <source>Iterations in which the rate rises.</source>
        <translation>学习率上升的迭代次数。</translation>
    </message>
    <message>
        <source>Exponent of the burn-in and of policy=poly.</source>
        <translation>预热和 policy=poly 的指数。</translation>
    </message>
    <message>
        <source>How the rate falls.</source>
        <translation>学习率如何下降。</translation>
    </message>
    <message>
        <source>Iterations at which the rate changes (policy=steps).</source>
        <translation>学习率变化处的迭代（policy=steps）。</translation>
    </message>
    <message>
        <source>Factor on the rate at each of the steps.</source>
        <translation>每个衰减步的学习率系数。</translation>
    </message>
    <message>
        <source>Iterations between changes (policy=step).</source>
        <translation>两次变化之间的迭代次数（policy=step）。</translation>
    </message>
    <message>
        <source>Factor of each change (policy=step).</source>
        <translation>每次变化的系数（policy=step）。</translation>
    </message>
    <message>
        <source>Base (policy=exp) or slope (policy=sigmoid).</source>
        <translation>底数（policy=exp）或斜率（policy=sigmoid）。</translation>
    </message>
    <message>
        <source>Rate at the end of each cycle (policy=sgdr).</source>
        <translation>每个周期结束时的学习率（policy=sgdr）。</translation>
    </message>
    <message>
        <source>Average the weights in the second half of a run, as AlexeyAB&apos;s Darknet; 0: no.</source>
        <translation>像 AlexeyAB 的 Darknet 一样，在训练后半段对权重取平均；0：不取。</translation>
    </message>
    <message>
        <source>Darknet&apos;s, or Ultralytics&apos; with its own keys.</source>
        <translation>Darknet 的，或 Ultralytics 的（用它自己的键）。</translation>
    </message>
    <message>
        <source>New input size every 10 updates: 0 off, 1 up to 1.4 times, or a factor.</source>
        <translation>每 10 次更新换一个输入尺寸：0 关闭，1 最多 1.4 倍，或给出倍数。</translation>
    </message>
    <message>
        <source>Largest change of proportions and place, as a share of the image.</source>
        <translation>比例和位置的最大变化，占图像的份额。</translation>
    </message>
    <message>
        <source>Largest shift of the hue.</source>
        <translation>色相的最大偏移。</translation>
    </message>
    <message>
        <source>Largest factor on the saturation; 1: unchanged.</source>
        <translation>饱和度的最大倍数；1：不变。</translation>
    </message>
    <message>
        <source>Largest factor on the brightness; 1: unchanged.</source>
        <translation>亮度的最大倍数；1：不变。</translation>
    </message>
    <message>
        <source>Mirror every second image or none.</source>
        <translation>随机镜像一半图像，或不镜像。</translation>
    </message>
    <message>
        <source>The image gets up to so many times larger or smaller; 1: neither.</source>
        <translation>图像最多放大或缩小到这个倍数；1：都不。</translation>
    </message>
    <message>
        <source>Fit training images with their own proportions (AlexeyAB&apos;s).</source>
        <translation>训练图像按自身比例放入网络（AlexeyAB）。</translation>
    </message>
    <message>
        <source>Boxes of a mosaic end where their part of it does.</source>
        <translation>拼接图像中的框不超出各自的部分。</translation>
    </message>
    <message>
        <source>Blur some images, or all of them but the objects; 0: none.</source>
        <translation>模糊部分图像，或只模糊物体以外的部分；0：不模糊。</translation>
    </message>
    <message>
        <source>Standard deviation of noise on half of the images; 0: none.</source>
        <translation>一半图像所加噪声的标准差；0：不加。</translation>
    </message>
    <message>
        <source>Random input sizes are multiples of this and of the network&apos;s stride.</source>
        <translation>随机输入尺寸是该值和网络步长的倍数。</translation>
    </message>
    <message>
        <source>Not used for detection, as in Darknet.</source>
        <translation>检测中不使用，与 Darknet 相同。</translation>
    </message>
    <message>
        <source>Overlap from which a box that is not responsible is not punished.</source>
        <translation>重叠超过此值时，不负责的框不受惩罚。</translation>
    </message>
    <message>
        <source>Overlap from which such a box learns the object too.</source>
        <translation>重叠超过此值时，这样的框也学习该目标。</translation>
    </message>
    <message>
        <source>cpu, 0 or 0,1; the first GPU if not given.</source>
        <translation>cpu、0 或 0,1；不填则用第一块 GPU。</translation>
    </message>
    <message>
        <source>Processes that load images.</source>
        <translation>加载图像的进程数。</translation>
    </message>
    <message>
        <source>False, True (float16, on a GPU) or bf16.</source>
        <translation>False、True（GPU 上的 float16）或 bf16。</translation>
    </message>
    <message>
        <source>Start of every random number.</source>
        <translation>所有随机数的起点。</translation>
    </message>
    <message>
        <source>Folder that holds the runs.</source>
        <translation>存放训练的文件夹。</translation>
    </message>
    <message>
        <source>Name of the run&apos;s folder; a taken one gets a number.</source>
        <translation>训练文件夹的名称；重名时加数字。</translation>
    </message>
    <message>
        <source>Go on with the run in this folder as if it had never ended.</source>
        <translation>接着该文件夹中的训练，如同从未中断。</translation>
    </message>
    <message>
        <source>Iterations after which resume can go on, besides every epoch; 0: epochs only.</source>
        <translation>除每轮之外，每隔多少次迭代可供继续；0：仅每轮。</translation>
    </message>
    <message>
        <source>Keep the exact state of a finished run, so that it can be trained longer.</source>
        <translation>训练完成后保留精确状态，以便继续延长训练。</translation>
    </message>
    <message>
        <source>Let code in opened files run: for files of people whom you know.</source>
        <translation>允许运行所打开文件中的代码：仅用于您认识的人的文件。</translation>
    </message>
    <message>
        <source>Use this folder and the settings.json in it, alone.</source>
        <translation>只使用该文件夹及其中的 settings.json。</translation>
    </message>
    <message>
        <source>Other training keys of Ultralytics.</source>
        <translation>Ultralytics 的其他训练键。</translation>
    </message>
    <message>
        <source>Checkpoint (.pt) of a run.</source>
        <translation>某次训练的检查点（.pt）。</translation>
    </message>
    <message>
        <source>Input size in pixels, or height,width; the network&apos;s if not given.</source>
        <translation>输入尺寸（像素），或“高,宽”；不填则与网络相同。</translation>
    </message>
    <message>
        <source>Images at a time; any number with dynamic.</source>
        <translation>每次处理的图像数；选择动态尺寸时可为任意数量。</translation>
    </message>
    <message>
        <source>Take any number of images, of any size the stride divides.</source>
        <translation>接受任意数量的图像，尺寸只需能被步长整除。</translation>
    </message>
    <message>
        <source>Take images as OpenCV has them: bytes, (batch, height, width, BGR).</source>
        <translation>直接接受 OpenCV 的图像：字节，排列为（批，高，宽，BGR）。</translation>
    </message>
    <message>
        <source>File to write; X.onnx beside X.pt or X.weights if not given.</source>
        <translation>要写入的文件；不填则写到 X.pt 或 X.weights 旁边的 X.onnx。</translation>
    </message>
    <message>
        <source>Compute the convolutions in half precision, the boxes in full.</source>
        <translation>卷积用半精度计算，框用全精度计算。</translation>
    </message>
    <message>
        <source>Compute the convolutions in 8 bits, calibrated on data; refused if mAP falls.</source>
        <translation>卷积用 8 位整数计算，用数据集校准；mAP 明显下降则不保留。</translation>
    </message>
    <message>
        <source>With int8: the data set, train to calibrate and val to measure mAP.</source>
        <translation>用于 int8：数据集，train 用来校准，val 用来测量 mAP。</translation>
    </message>
    <message>
        <source>Suppress overlapping boxes inside the file.</source>
        <translation>在文件内部抑制重叠的框。</translation>
    </message>
    <message>
        <source>With nms: least confidence of a box.</source>
        <translation>用于 nms：框的最低置信度。</translation>
    </message>
    <message>
        <source>With nms: overlap from which the weaker box is dropped.</source>
        <translation>用于 nms：重叠达到此值时去掉较弱的框。</translation>
    </message>
    <message>
        <source>With nms: boxes an image at most.</source>
        <translation>用于 nms：每张图像最多保留的框数。</translation>
    </message>
    <message>
        <source>With nms: boxes of different classes suppress each other too.</source>
        <translation>用于 nms：不同类别的框也互相抑制。</translation>
    </message>
    <message>
        <source>Give the maps before the [yolo] layers, for plug-ins that decode them.</source>
        <translation>输出 [yolo] 层之前的特征图，供自行解码的插件使用。</translation>
    </message>
    <message>
        <source>With int8: training images to calibrate on.</source>
        <translation>用于 int8：用多少张训练图像来校准。</translation>
    </message>
    <message>
        <source>ONNX operator set; later ones may leave layers on the CPU.</source>
        <translation>ONNX 算子集版本；较新的版本可能使某些层留在 CPU 上。</translation>
    </message>
    <message>
        <source>Simplify the graph with onnxslim.</source>
        <translation>用 onnxslim 简化计算图。</translation>
    </message>
    <message>
        <source>Put the inference script, which needs neither torch nor this package, beside it.</source>
        <translation>在旁边放一份推理脚本，它既不需要 torch 也不需要本软件包。</translation>
    </message>
    <message>
        <source>Darknet cfg (*.cfg)</source>
        <translation>Darknet 配置 (*.cfg)</translation>
    </message>
    <message>
        <source>Model (*.pt *.yaml *.yml)</source>
        <translation>模型 (*.pt *.yaml *.yml)</translation>
    </message>
    <message>
        <source>Darknet weights (*.weights *.conv.*)</source>
        <translation>Darknet 权重 (*.weights *.conv.*)</translation>
    </message>
    <message>
        <source>Data set (*.data *.yaml *.yml)</source>
        <translation>数据集 (*.data *.yaml *.yml)</translation>
    </message>
    <message>
        <source>Model (*.pt)</source>
        <translation>模型 (*.pt)</translation>
    </message>
    <message>
        <source>ONNX (*.onnx)</source>
        <translation>ONNX 文件 (*.onnx)</translation>
    </message>
</context>
<context>
    <name>_Box</name>
    <message>
        <source>none</source>
        <translation>无</translation>
    </message>
</context>
</TS>
