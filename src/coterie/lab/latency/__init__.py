"""How long calls take, by formula: distances, disks, order statistics of quorums."""
