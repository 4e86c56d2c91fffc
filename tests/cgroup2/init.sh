#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# PID 1 of the user-mode kernel: mounts as a host has them, the tests, power off. The host's root is below, read through
# hostfs: everything that is written goes to tmpfs.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/cache
mount -t devtmpfs devtmpfs /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t securityfs securityfs /sys/kernel/security
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# /lib/modules need not exist on this host: the modules are loaded by their files.
for module in overlay veth; do find /usr/lib/uml/modules -name "$module.ko*" -exec busybox insmod {} \;; done
ip link set lo up
cd "$BOXSHIP_TOP" || echo "cgroup2: $BOXSHIP_TOP is not there"
echo "cgroup2: Linux $(uname -r), controllers $(cat /sys/fs/cgroup/cgroup.controllers), AppArmor $(cat /sys/module/apparmor/parameters/enabled)"
eval "\"\$BOXSHIP_PYTHON\" -B -m pytest -p no:cacheprovider --color=no $BOXSHIP_ARGS" </dev/null
echo "cgroup2: pytest ended with $?"
echo o >/proc/sysrq-trigger
sleep 10
