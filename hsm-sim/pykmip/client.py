"""Asks a KMIP server with PyKMIP's own client, over one connection, as who manages its keys would.

The order, in a file: {"host", "port", "cert", "key", "ca", "version", "steps": [{"do": "activate", "id": "1"}, ...]}. On stdout: a list with
the answer to each step, {"failed": {"reason", "message"}} where the server said no. Bytes are in hex.
"""

import json
import sys

from kmip.core import enums, exceptions as core_exceptions, objects, primitives
from kmip.core.attributes import CryptographicParameters
from kmip.core.factories.attributes import AttributeFactory
from kmip.core.messages import messages, payloads
from kmip.pie import client as pie, exceptions, objects as pie_objects

MASK = enums.CryptographicUsageMask
GCM = CryptographicParameters(
    block_cipher_mode=enums.BlockCipherMode.GCM,
    cryptographic_algorithm=enums.CryptographicAlgorithm.AES,
    tag_length=16,
)


class Steps:
    def __init__(self, client):
        self.client = client

    def create_aes(self, name, usage, bits=256, sensitive=True, activate=True, policy="default"):
        attribute = AttributeFactory().create_attribute
        kind = enums.AttributeType
        template = objects.TemplateAttribute(attributes=[
            attribute(kind.NAME, name),
            attribute(kind.CRYPTOGRAPHIC_ALGORITHM, enums.CryptographicAlgorithm.AES),
            attribute(kind.CRYPTOGRAPHIC_LENGTH, bits),
            attribute(kind.CRYPTOGRAPHIC_USAGE_MASK, masks(usage)),
            attribute(kind.SENSITIVE, sensitive),
        ])
        if policy != "default":  # KMIP 2.0 has none any more
            template.attributes.append(attribute(kind.OPERATION_POLICY_NAME, policy))
        result = self.client.proxy.create(enums.ObjectType.SYMMETRIC_KEY, template)
        if result.result_status.value != enums.ResultStatus.SUCCESS:
            raise exceptions.KmipOperationFailure(
                result.result_status.value, result.result_reason.value, result.result_message.value)
        if activate:
            self.activate(result.uuid)
        return result.uuid

    def create_rsa(self, name, bits, usage):
        public, private = self.client.create_key_pair(
            enums.CryptographicAlgorithm.RSA, bits,
            public_name=name + ".pub", public_usage_mask=[MASK.ENCRYPT],
            private_name=name, private_usage_mask=masks(usage))
        self.activate(public)
        self.activate(private)
        return {"private": private, "public": public}

    def register_aes(self, name, value, usage):
        value = bytes.fromhex(value)
        return self.register(pie_objects.SymmetricKey(
            enums.CryptographicAlgorithm.AES, 8 * len(value), value, masks=masks(usage), name=name))

    def register_rsa(self, name, value, bits, usage):
        return self.register(pie_objects.PrivateKey(
            enums.CryptographicAlgorithm.RSA, bits, bytes.fromhex(value), enums.KeyFormatType.PKCS_8,
            masks=masks(usage), name=name))

    def register(self, key):
        id = self.client.register(key)
        self.activate(id)
        return id

    def activate(self, id):
        self.client.activate(id)

    def revoke(self, id, reason):
        self.client.revoke(enums.RevocationReasonCode[reason], id)

    def destroy(self, id):
        self.client.destroy(id)

    def locate(self, name):
        return self.client.locate(
            attributes=[AttributeFactory().create_attribute(enums.AttributeType.NAME, name)])

    def get(self, id):
        return self.client.get(id).value.hex()

    def attributes(self, id):
        _, attributes = self.client.get_attributes(id)
        return {a.attribute_name.value: plain(a.attribute_value) for a in attributes}

    def encrypt(self, id, data, iv):
        answer = self.ask(enums.Operation.ENCRYPT, payloads.EncryptRequestPayload(
            unique_identifier=id, cryptographic_parameters=GCM, data=bytes.fromhex(data),
            iv_counter_nonce=bytes.fromhex(iv)))
        return {"data": answer.data.hex(), "tag": answer.auth_tag.hex()}

    def decrypt(self, id, data, iv, tag):
        answer = self.ask(enums.Operation.DECRYPT, payloads.DecryptRequestPayload(
            unique_identifier=id, cryptographic_parameters=GCM, data=bytes.fromhex(data),
            iv_counter_nonce=bytes.fromhex(iv), auth_tag=bytes.fromhex(tag)))
        return answer.data.hex()

    def decrypt_oaep(self, id, data, hash):
        answer = self.ask(enums.Operation.DECRYPT, payloads.DecryptRequestPayload(
            unique_identifier=id, data=bytes.fromhex(data), cryptographic_parameters=CryptographicParameters(
                cryptographic_algorithm=enums.CryptographicAlgorithm.RSA,
                padding_method=enums.PaddingMethod.OAEP,
                hashing_algorithm=enums.HashingAlgorithm[hash])))
        return answer.data.hex()

    def ask(self, operation, payload):
        """What the client has no method for: those it has leave the tag of GCM out."""
        proxy = self.client.proxy
        item = messages.RequestBatchItem(
            operation=primitives.Enumeration(enums.Operation, operation, tag=enums.Tags.OPERATION),
            request_payload=payload)
        response = proxy._send_and_receive_message(proxy._build_request_message(None, [item]))
        item = response.batch_items[0]
        if item.result_status.value != enums.ResultStatus.SUCCESS:
            raise exceptions.KmipOperationFailure(
                item.result_status.value, item.result_reason.value, item.result_message.value)
        return item.response_payload


def masks(names):
    return [MASK[name] for name in names]


def plain(value):
    value = getattr(value, "value", value)
    if isinstance(value, (bool, int, str)):
        return value
    return getattr(value, "name", None) or str(value)


def main():
    with open(sys.argv[1]) as file:
        order = json.load(file)
    client = pie.ProxyKmipClient(
        hostname=order["host"], port=order["port"], cert=order["cert"], key=order["key"], ca=order["ca"],
        ssl_version="PROTOCOL_TLSv1_2", kmip_version=enums.KMIPVersion["KMIP_" + order["version"].replace(".", "_")])
    answers = []
    with client:
        for step in order["steps"]:
            do = getattr(Steps(client), step.pop("do"))
            try:
                answers.append(do(**step))
            except (exceptions.KmipOperationFailure, core_exceptions.OperationFailure) as error:
                answers.append({"failed": {"reason": error.reason.name, "message": error.message}})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
