"""No deterministic consensus decides in spite of one crash (Fischer, Lynch, Paterson 1985); and what ends that."""
