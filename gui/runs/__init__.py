"""What the window knows of runs and does with them; nothing of it is seen."""
