.PHONY: types
types:
	@mkdir -p build/typing/kernelwright
	@ln -sfn ../../../server build/typing/kernelwright/server
	@ln -sfn ../../../tools build/typing/kernelwright/tools
	MYPYPATH=build/typing .venv/bin/mypy -p kernelwright.server -p kernelwright.tools
