"""What all learning shares, whatever its loop: folder, metrics, checkpoints, resume, device, progress, report."""
