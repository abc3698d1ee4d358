"""What trajectories show: phases, rankings, what differs between runs."""
