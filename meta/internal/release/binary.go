package release

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ops-updater/ops-updater/internal/unpack"
)

// headerSize is enough for the parts of an executable's header that tell its
// arch, with the list at the start of a universal Mach-O.
const headerSize = 512

// binaries collects which arches the executables of a tarball are for.
type binaries struct {
	arches []string            // in order of appearance
	paths  map[string]string   // arch → the first file that is for it
	fat    map[string][]string // universal files: path → arches
}

// inspectEntry inspects the beginning of a regular file.
func (b *binaries) inspectEntry(e unpack.Entry) error {
	if e.Kind != unpack.File || e.Size < 20 {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(e.Body, headerSize))
	if err != nil {
		return err
	}
	switch arches := archesOf(head); len(arches) {
	case 0:
	case 1:
		b.addBinary(arches[0], e.Path)
	default:
		if b.fat == nil {
			b.fat = map[string][]string{}
		}
		b.fat[e.Path] = arches
	}
	return nil
}

func (b *binaries) addBinary(arch, path string) {
	if b.paths == nil {
		b.paths = map[string]string{}
	}
	if _, known := b.paths[arch]; !known {
		b.paths[arch] = path
		b.arches = append(b.arches, arch)
	}
}

// archWarnings says which files are not for arch.
func (b *binaries) archWarnings(arch string) []string {
	var out []string
	for _, other := range b.arches {
		if other != arch {
			out = append(out, fmt.Sprintf("%s is a program for %s, not for %s", b.paths[other], other, arch))
		}
	}
	for path, arches := range b.fat {
		if !slices.Contains(arches, arch) {
			out = append(out, fmt.Sprintf("%s is a program for %s, not for %s", path, strings.Join(arches, " and "), arch))
		}
	}
	slices.Sort(out)
	return out
}

// defaultArch is what a tarball without any program is taken for.
const defaultArch = "linux_amd64"

// deriveArch is the one arch that all programs are for.
func (b *binaries) deriveArch() (string, error) {
	candidates := slices.Clone(b.arches)
	for _, arches := range b.fat {
		if len(b.arches) == 0 {
			candidates = append(candidates, arches...)
		}
	}
	slices.Sort(candidates)
	candidates = slices.Compact(candidates)
	switch len(candidates) {
	case 1:
		return candidates[0], nil
	case 0:
		return defaultArch, nil
	}
	return "", invalidField("arch", "give the arch that this tarball is for", "the arch cannot be told from the tarball: it holds programs for %s", strings.Join(candidates, ", "))
}

// archesOf reads an executable's header. Anything else is for no arch, and so
// is an executable for a machine that Go does not know.
func archesOf(head []byte) []string {
	switch {
	case bytes.HasPrefix(head, []byte(elf.ELFMAG)):
		return archList(elfArch(head))
	case len(head) < 8:
		return nil
	}
	switch le, be := binary.LittleEndian.Uint32(head), binary.BigEndian.Uint32(head); {
	case le == macho.Magic64 || le == macho.Magic32:
		return archList(machoArch(binary.LittleEndian.Uint32(head[4:])))
	case be == macho.MagicFat:
		return fatArches(head)
	}
	return nil
}

func archList(arch string) []string {
	if arch == "" {
		return nil
	}
	return []string{arch}
}

var elfMachines = map[elf.Machine]string{
	elf.EM_X86_64: "amd64", elf.EM_386: "386", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm",
	elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_LOONGARCH: "loong64",
}

var elfSystems = map[elf.OSABI]string{
	elf.ELFOSABI_NONE: "linux", elf.ELFOSABI_LINUX: "linux",
	elf.ELFOSABI_FREEBSD: "freebsd", elf.ELFOSABI_NETBSD: "netbsd", elf.ELFOSABI_OPENBSD: "openbsd",
}

func elfArch(head []byte) string {
	if len(head) < 20 {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	machine := elf.Machine(order.Uint16(head[18:]))
	arch, system := elfMachines[machine], elfSystems[elf.OSABI(head[elf.EI_OSABI])]
	switch big := order == binary.BigEndian; {
	case machine == elf.EM_PPC64 && big:
		arch = "ppc64"
	case machine == elf.EM_PPC64:
		arch = "ppc64le"
	}
	if arch == "" || system == "" {
		return ""
	}
	return system + "_" + arch
}

func machoArch(cpu uint32) string {
	switch macho.Cpu(cpu) {
	case macho.CpuAmd64:
		return "darwin_amd64"
	case macho.CpuArm64:
		return "darwin_arm64"
	case macho.Cpu386:
		return "darwin_386"
	}
	return ""
}

// fatArches reads the list of a universal file. Java classes begin with the
// same magic; where they have their version, it would count 45 arches or more.
func fatArches(head []byte) []string {
	n := binary.BigEndian.Uint32(head[4:])
	if n > 20 {
		return nil
	}
	var out []string
	for entry := head[8:]; n > 0 && len(entry) >= 20; n, entry = n-1, entry[20:] {
		if arch := machoArch(binary.BigEndian.Uint32(entry)); arch != "" {
			out = append(out, arch)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
