"""DrasCLR: anatomy-aware features from unlabelled 3D lung CT (Yu et al., Medical Image Analysis 2024)."""

__version__ = "0.1.0"
