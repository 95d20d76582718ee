"""What every part of the window is made of: colours, language, texts, boxes, work in the background."""
