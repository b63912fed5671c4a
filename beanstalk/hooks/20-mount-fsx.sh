#!/bin/bash
# Mounts the FSx for Lustre file system named by CXG_DATAROOT (lustre://<dns>@tcp:/<mountname>[/folder]), read-only, at
# /mnt/cxg, which the container gets as a volume. It must be there before the container starts: a folder that is
# bound first never shows what is mounted later. A failure stops the deployment, so that no instance without data
# is put into service.
set -euo pipefail

point=/mnt/cxg
fail() { echo "mounting FSx: $1" >&2; exit 1; }

dataroot=${CXG_DATAROOT:-$(/opt/elasticbeanstalk/bin/get-config environment -k CXG_DATAROOT 2>/dev/null || true)}
if [[ ! $dataroot =~ ^lustre://([^/@]+@[a-z0-9]+):/([^/]+)(/.*)?$ ]]; then
    fail "set CXG_DATAROOT to lustre://<dns name>@tcp:/<mountname> (eb setenv), it is '${dataroot}'"
fi
source=${BASH_REMATCH[1]}:/${BASH_REMATCH[2]}

if mountpoint -q "$point"; then
    kind=$(findmnt -n -o FSTYPE "$point" | tail -1)
    shown=$(findmnt -n -o SOURCE "$point" | tail -1)
    if [ "$kind" = lustre ] && [ "${shown##*:/}" = "${BASH_REMATCH[2]}" ]; then
        echo "mounting FSx: $source is mounted already"
        exit 0
    fi
    # Another file system than before. The running container keeps the old one until it is replaced.
    umount --lazy "$point" || fail "$point is in use by $shown and cannot be unmounted"
fi

# The module must fit the running kernel, so it comes from the distribution's own repository.
command -v mount.lustre >/dev/null || dnf install -y -q lustre-client || fail "the package lustre-client cannot be installed"
modprobe lustre || fail "the kernel module does not load; use an instance whose kernel the Lustre client supports"

mkdir -p "$point"
mount -t lustre -o ro,relatime,flock "$source" "$point" ||
    fail "no mount of $source; check the mount name, and TCP 988 and 1018-1023 in the security groups"

# For the next boot. _netdev is needed: without it the boot would wait for a network that is not up yet.
sed -i "\\#[[:space:]]$point[[:space:]]#d" /etc/fstab
echo "$source $point lustre ro,relatime,flock,_netdev,x-systemd.requires=network-online.target 0 0" >>/etc/fstab
systemctl daemon-reload
echo "mounting FSx: $source is at $point"
