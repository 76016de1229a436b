.PHONY: types
types:
	@mkdir -p build/typing/kernelwright
	@ln -sfn ../../../server build/typing/kernelwright/server
	@ln -sfn ../../../tools build/typing/kernelwright/tools
	@ln -sfn ../../../references build/typing/kernelwright/references
	@ln -sfn ../../../kernels_src build/typing/kernelwright/kernels_src
	MYPYPATH=build/typing .venv/bin/mypy -p kernelwright.server -p kernelwright.tools
