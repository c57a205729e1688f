import json
from tests.subjects.conftest import *
from tests.subjects.test_harvest import corpus
def test_x(subjects, corpus):
    s=subjects["gpt2"]; t=s._tokenizer
    for line in corpus.read_text(encoding="utf-8").splitlines():
        x=json.loads(line)["text"]
        a=t(x,add_special_tokens=False)["input_ids"]; b=s.tokenise(x).ids.tolist(); d=t.backend_tokenizer.encode(x,add_special_tokens=False).ids
        if a!=b:
            k=next(j for j,(p,q) in enumerate(zip(a,b)) if p!=q)
            print(repr(x)); print(t.convert_ids_to_tokens(a)[k-2:k+6], t.convert_ids_to_tokens(b)[k-2:k+6], d==a,d==b); assert 0
