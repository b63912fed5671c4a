#!/bin/bash
# Lets containers reach the instance metadata service, from which they get the instance role's credentials.
# With the hop limit at 1 its answers end at the instance: S3 would be read without credentials, after 80 s.
# Beanstalk has no option for it. Needs ec2:ModifyInstanceMetadataOptions; without that right this says so and
# goes on, as the instance may have the right limit already. The container checks again when it starts.
set -uo pipefail

metadata=http://169.254.169.254/latest
token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$metadata/api/token") || token=
ask() { curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"; }

if [ -z "$token" ] || ! instance=$(ask instance-id) || ! region=$(ask placement/region); then
    echo "metadata hop limit: the metadata service does not answer, nothing was changed" >&2
    exit 0
fi
if said=$(aws ec2 modify-instance-metadata-options --region "$region" --instance-id "$instance" \
    --http-tokens required --http-put-response-hop-limit 2 2>&1 >/dev/null); then
    echo "metadata hop limit: set to 2"
else
    echo "metadata hop limit: not set, allow ec2:ModifyInstanceMetadataOptions for the instance role ($said)" >&2
fi
