"""The experiment of Shwartz-Ziv and Tishby (arXiv 1703.00810) and of its critics, Saxe et al. (ICLR 2018)."""
