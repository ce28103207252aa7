"""Following what moved: new names of files and modules, wherever they are named."""
