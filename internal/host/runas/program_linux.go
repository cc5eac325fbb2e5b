package runas

import "os"

// selfExe leads to the running program itself. The kernel follows it without
// looking at directories, so that another user can execute it wherever it lies
// and whatever has been put in its place since.
const selfExe = "/proc/self/exe"

func programPath(path string, method Method) (string, error) {
	if path != "" {
		return path, nil
	}
	if method == Sudo { // sudo would execute itself
		return os.Executable()
	}
	if _, err := os.Stat(selfExe); err != nil { // no /proc here
		return os.Executable()
	}
	return selfExe, nil
}
