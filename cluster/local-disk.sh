# Runs on the host before the container starts: mounts the machine's local disks, which are fast, at /mnt/factory.
set -eu
if ! mountpoint -q /mnt/factory; then
  sudo mkdir -p /mnt/factory
  disks=$(readlink -f /dev/disk/by-id/google-local-nvme-ssd-* /dev/disk/by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_* | grep -E '^/dev/nvme[0-9]+n[0-9]+$' | sort -u || true)
  if mountpoint -q /opt/dlami/nvme; then
    sudo mount --bind /opt/dlami/nvme /mnt/factory  # the AWS image has already combined them
  elif [ -n "$disks" ]; then
    device=$disks
    if [ "$(echo "$disks" | wc -l)" -gt 1 ]; then
      device=/dev/md0
      sudo mdadm --create "$device" --run --level=0 --raid-devices="$(echo "$disks" | wc -l)" $disks
    fi
    sudo mkfs.ext4 -q -F -m 0 "$device"
    sudo mount -o noatime "$device" /mnt/factory
  fi
fi
sudo install -d -o 1000 -g 1000 /mnt/factory/cache
