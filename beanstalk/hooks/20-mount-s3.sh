#!/bin/bash
# Mounts the bucket named by CXG_DATAROOT (s3://bucket/prefix, with CXG_S3_MOUNT=1), read-only, at /mnt/cxg, which the
# container gets as a volume. It must be there before the container starts: a folder that is bound first never shows
# what is mounted later. A failure stops the deployment, so that no instance without data is put into service.
set -euo pipefail

point=/mnt/cxg
fail() { echo "mounting S3: $1" >&2; exit 1; }

dataroot=${CXG_DATAROOT:-$(/opt/elasticbeanstalk/bin/get-config environment -k CXG_DATAROOT 2>/dev/null || true)}
if [[ ! $dataroot =~ ^s3://([^/]+)/?(.*)$ ]]; then
    fail "set CXG_DATAROOT to s3://bucket/prefix (eb setenv), it is '${dataroot}'"
fi
bucket=${BASH_REMATCH[1]}
prefix=${BASH_REMATCH[2]%/}
uri=s3://$bucket/${prefix:+$prefix/}

if mountpoint -q "$point" && grep -qs "^$uri $point " /etc/fstab; then
    echo "mounting S3: $uri is mounted already"
    exit 0
fi
if mountpoint -q "$point"; then
    umount --lazy "$point" || fail "$point is in use and cannot be unmounted"
fi

if ! command -v mount-s3 >/dev/null; then
    # The platform's repositories are those of its release and may lack the package; the maker's own copy does not.
    arch=$(uname -m)
    dnf install -y -q mount-s3 ||
        dnf install -y -q "https://s3.amazonaws.com/mountpoint-s3-release/latest/${arch/aarch64/arm64}/mount-s3.rpm" ||
        fail "the package mount-s3 cannot be installed"
fi

mkdir -p "$point"
# The container's user is not root, hence allow-other. A data set that is added shows within ten seconds.
sed -i "\\#[[:space:]]$point[[:space:]]#d" /etc/fstab
echo "$uri $point mount-s3 ro,allow-other,metadata-ttl=10,_netdev,nosuid,nodev 0 0" >>/etc/fstab
systemctl daemon-reload
mount "$point" || fail "no mount of $uri; check the bucket's name and the instance role's s3:ListBucket and s3:GetObject"
ls "$point" >/dev/null || fail "$uri is mounted but does not list"
echo "mounting S3: $uri is at $point"
