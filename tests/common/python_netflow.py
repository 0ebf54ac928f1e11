"""Reads messages, one in hexadecimal digits on each line, an empty line before each exporter's; writes the flows in them.

A line each: exporter, protocol, source, port, destination, port, packets, octets, first, last (milliseconds since 1970),
TCP control bits. The decoder is the package netflow.
"""

import ipaddress
import sys

import netflow


def address(value):
    return ipaddress.ip_address(value)


def fields(flow, header):
    """The values of a flow record by any of their names; `None` for the record of an option."""
    data = flow.data

    def value(*names):
        return next((data[name] for name in names if name in data), None)

    if value("IN_PACKETS", "IN_PKTS", "packetDeltaCount") is None:
        return None
    boot = 0
    if header.version != 10:
        boot = header.timestamp * 1000 - header.uptime
    if header.version == 5:
        boot += header.timestamp_nano // 1_000_000
    return [
        value("PROTO", "PROTOCOL", "protocolIdentifier"),
        address(value("IPV4_SRC_ADDR", "IPV6_SRC_ADDR", "sourceIPv4Address", "sourceIPv6Address")),
        value("SRC_PORT", "L4_SRC_PORT", "sourceTransportPort"),
        address(value("IPV4_DST_ADDR", "IPV6_DST_ADDR", "destinationIPv4Address", "destinationIPv6Address")),
        value("DST_PORT", "L4_DST_PORT", "destinationTransportPort"),
        value("IN_PACKETS", "IN_PKTS", "packetDeltaCount"),
        value("IN_OCTETS", "IN_BYTES", "octetDeltaCount"),
        boot + value("FIRST_SWITCHED", "flowStartMilliseconds"),
        boot + value("LAST_SWITCHED", "flowEndMilliseconds"),
        value("TCP_FLAGS", "tcpControlBits"),
    ]


exporter, templates = -1, {}
for line in sys.stdin:
    if not line.strip():
        exporter, templates = exporter + 1, {"netflow": {}, "ipfix": {}}
        continue
    message = netflow.parse_packet(bytes.fromhex(line), templates)
    for flow in message.flows:
        row = fields(flow, message.header)
        if row is not None:
            print(exporter, *row)
