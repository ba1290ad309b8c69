"""JupyterLab in a real Chromium: what requester and reviewer see, and can reach by keyboard."""
