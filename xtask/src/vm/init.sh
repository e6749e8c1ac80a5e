#!/bin/busybox sh
# The first process of the guest: makes a machine of it, runs what /vm/jobs says, and turns the machine off.
# The kernel's own messages go to the first serial port, this script's and those of the tests to the second one.
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/bin HOME=/root LANG=C VRRPD_LAB_BINARIES=/vm/bin VRRPD_LAB_PATIENCE=4
mkdir -p /proc /sys /dev /run /tmp /root /var
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t bpf bpf /sys/fs/bpf
ln -s /run /var/run
exec >/dev/ttyS1 2>&1 </dev/null
while read -r module; do
    insmod "/vm/modules/$module.ko" || echo "module $module cannot be loaded"
done </vm/modules/order
# What tests write there are commands for QEMU; its answers must not come back to it.
[ -c /dev/ttyS2 ] && stty -F /dev/ttyS2 raw -echo 2>/dev/null
ip link set lo up
echo "vm: kernel $(uname -r), up $(cut -d ' ' -f 1 /proc/uptime) s"
job=0
while read -r datapath file arguments; do
    # FIRST_JOB comes from the kernel's command line.
    if [ "$job" -lt "$FIRST_JOB" ]; then
        job=$((job + 1))
        continue
    fi
    echo "vm: job $job: $file, data path $datapath"
    # Arguments have no spaces in them: they are names of tests, and options.
    # shellcheck disable=SC2086
    VRRPD_LAB_DATAPATH=$datapath "/vm/tests/$file" $arguments
    echo "vm: job $job ended with $? at $(cut -d ' ' -f 1 /proc/uptime) s"
    job=$((job + 1))
done </vm/jobs
echo "vm: end"
# The port is emptied in its own time.
sleep 0.1
poweroff -f
