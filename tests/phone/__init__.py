"""An emulated phone that the real adb client talks to, for tests and for trying swapbench without a phone.

A daemon speaks the adb protocol over TCP (`adbd`, with its services in `shell` and `sync`). It sits in an
Android-like root (`root`) whose /sys (`nodes`) and whose dumpsys, settings and getprop (`programs`) answer
in the dialect of a vendor (`dialects`) from one state (`state`), which tests change while it runs. A battery
gauge (`gauge`) is driven by the CPU time that the phone's processes really use, so energy has a known truth.
`daemon` joins them, `lifecycle` starts and ends them, `fixture` does so for pytest, and `fetch` gets the two
programs (shell and busybox) that the root is made of.

The phone lives in user, mount and process namespaces of its own: it needs no root rights and leaves nothing
behind. Where the kernel refuses user namespaces there is no phone, and the reason is given. (A path-mapping
tracer was tried as a stand-in; it reports 0 for a killed shell, shows the host's processes and holds a
command until its background children end, so it is a wrong phone.) Two architectures: the machine's own at
native speed, and arm64 through qemu-user where the kernel also allows a private binfmt_misc (Linux 6.7 and
later).

The cores are those of the machine that this process may use, spread over the dialect's clusters, so pinning
is real. On the arm64 phone the shell's user has the number 0, though no rights: only user 0 may register an
interpreter.

What it cannot show: bionic, SELinux, real power, real clocks. Times under qemu mean nothing.
"""
