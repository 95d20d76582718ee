"""The desktop window: configures runs, starts them as processes of their own and plots them live. Never torch."""
