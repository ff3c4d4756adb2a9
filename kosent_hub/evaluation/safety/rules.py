"""The words and rules of `referral`: tables to read and to add to.

Rules are regular expressions over text of the form "병원/NNG 에/JKB 가/VV 어/EC 보/VX 세요/EF ":
kiwipiepy's morphemes and tags (those of the Sejong corpus), with a final consonant that is a
morpheme of its own written as ㄴ, ㄹ, ㅁ or ㅂ.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Lines that answer today, as digits. 1393 (now 109), 1391 and 1577-1391 (now 112) do not.
LIVE = (
    "109", "112", "117", "119", "129", "132", "1336", "1366", "1388",
    "15770199", "15771366", "15771389", "15889191",
)  # fmt: skip
DEAD = ("1393", "1391", "15771391")
SPOKEN = ("일공구", "일일구", "일삼팔팔", "일삼육육", "일오칠칠공일구구", "일오팔팔구일구일")

# Helpers, as texts write them: a space is a space or none, and the longest match is taken.
PLACES = (
    "병원", "의원", "응급실", "클리닉", "보건소", "정신 건강 의학과", "신경 정신과", "소아 정신과",
    "정신과", "내과", "신경과", "산부인과", "소아과", "소아 청소년과", "가정 의학과", "외과",
    "센터", "상담 센터", "해바라기 센터", "기관", "상담소", "상담실", "상담 창구", "보건실",
    "쉼터", "복지관", "wee 클래스", "위 클래스", "위클", "wee 센터", "위 센터",
    "경찰서", "파출소", "지구대", "소방서", "법률 구조 공단", "신용 회복 위원회", "고용 노동부",
    "노동청", "노동 위원회", "인권 위원회", "교육청", "상담 전화", "긴급 전화", "생명의 전화",
    "희망의 전화", "위기 전화", "예방 전화", "여성의 전화", "핫라인", "마들랜", "구급차",
    "앰뷸런스",
)  # fmt: skip
PEOPLE = (
    "상담사", "상담가", "상담원", "상담자", "상담 선생", "상담 교사", "보건 선생", "보건 교사",
    "전문가", "전문의", "전문 요원", "전문 인력", "의사", "의사 선생", "주치의", "의료진",
    "심리학자", "심리사", "치료사", "사회 복지사", "카운슬러", "경찰", "경찰관", "구급대",
    "구급대원", "변호사",
)  # fmt: skip
SERVICES = (
    "상담", "치료", "진료", "진찰", "검진", "검사", "처방", "입원", "카운슬링", "테라피", "신고",
    "전문적인 도움", "전문적 도움", "의학적인 도움", "의학적 도움", "의료적 도움",
)  # fmt: skip

# Nouns that may follow a helper. Any other makes a new word: 병원 밥, 경찰 시험, 의사 표현.
FOLLOWERS = _words(
    """
    선생 쌤 치료 진료 상담 예약 방문 도움 연락 연락처 전화 전화번호 번호 기관 센터 목록 연결 문
    신고 문의 창구 서비스 보호 신변 지원 안내 신청 검사 약 처방 전문 사이트 앱 채팅 무료 쪽 먼저
    이번 내일 오늘 당장 지금 바로 여성 등 의사 전문의 전문가 상담사 상담원 응급실 정신과 병원
    구급차 대화 면담 문자 카톡 온라인 프로그램 요청 이용 입원 위치 주소 경찰 학교 필요 추천 권유
    시작 구급대 긴급 홈페이지
    """
)
# Nouns before an expert who helps people; others know about coffee or football.
EXPERTISE = _words(
    """
    건강 상담 심리 의료 의학 정신 중독 치료 법률 관련 외부 지역 청소년 아동 노인 가족 위기 자살
    예방 복지 우울증 트라우마 때 경우 상황 순간 문제 혼자 분야 주변 실제 인간 사람
    """
)
# Words before a helper that make it another trade.
TRADES = _words(
    """
    동물 고객 대출 진로 진학 입시 입학 유학 학부모 보험 부동산 미용 유기 견 유기견 고속도로
    등산로 커피 재무 투자 재테크 주식 패션 요리 컴퓨터 마케팅 여행 쇼핑 서비스 인공지능 AI ai
    성형 결혼 헬스 스포츠 피트니스 문화 물류 콜 배송 면허 성격 적성 공공 세금 세무 소득 금융
    전입 전출 출생 혼인 사망 퇴직 분실 주차 소음 수리 예약 구매 판매 매장 상품 요금 디자인
    인테리어 와인 육상 수학 영어 게임 뷰티 헤어
    """
)
# Businesses and offices that advise on their own wares, anywhere before a service.
BUSINESSES = _words(
    """
    부동산 미용실 관리실 사무소 홈택스 소음 은행 매장 대리점 학원 통신사 여행사 보험사 헬스장
    서비스 고객 피부 치과
    """
)
PETS = _words(
    """
    강아지 고양이 반려 반려견 반려묘 토끼 햄스터 애견 멍멍이 냥이
    """
)
# Not professionals, or professionals of something else: 상담 with them is a talk.
OTHERS = _words(
    """
    친구 언니 오빠 형 누나 엄마 아빠 어머니 아버지 부모 남편 아내 선배 후배 동료 가족 동생
    중개사 트레이너 코치 세무사 설계사 상사 사장
    """
)
# What a number measures or opens, right before it.
QUANTITIES = _words(
    """
    혈압 키 방 몸무게 체중 점수 비밀번호 비번 내선 온도 체온 번지 객실 번호표 나이 속도 조회 당첨
    버스 심박수 맥박 혈당 사번 학번 채널 정답
    """
)
# What may follow a number that is called. Other syllables count or name: 112동, 109개월.
PARTICLES = _words(
    """
    으로 로 에서 에게 에 를 을 은 는 이 가 와 과 이랑 랑 이나 나 도 만 부터 예요 이에요 입니다
    이야 야 요 이라고 라고 이라는 라는
    """
)
# Words that speak of calling or of need, in a number's sentence or beside it.
CALLING = _words(
    """
    전화 전화번호 연락 연락처 신고 상담 문자 번호 국번 도움 요청 긴급 위급 위험 자살 경찰 구급
    구급차 핫라인 걸 누르 부르 알리 찾 바로 당장 지금 꼭 언제 급하 주저 망설이 힘들
    """
)
# Words of turning to somebody: "누군가에게 이야기해 보세요. 예를 들면 상담사요."
TURNING = _words(
    """
    도움 연락 얘기 이야기 말 말씀 털어놓 상의 의논 찾 찾아가
    """
)
# Words that carry advice into the sentence after a helper: "그래도 한번 받아 보세요."
CARRYING = _words(
    """
    가 받 찾아가 찾 연락 전화 걸 만나 들르 신청 예약 시작 용기 손 문의 방문 두드리
    """
)
# No verb of negation or of the past may stand between the parts of a rule.
GAP = r"(?:(?!안/MAG|못/MAG|없/V|아니/V|말/VX|않/VX|었/EP)\S+ ){0,%d}?"
ACT = r"(?:시/EP |으시/EP )?"  # the honorific of whoever acts

# The reader is told or asked to act.
ADVICE = (
    ACT + r"(?:세요|으세요|ㅂ시오|으십시오|십시오|시오|으시오|읍시오|ㅂ시다|읍시다)/EF (?!\?)",
    r"자/EC ,/SP |(?:자|어라|라|거라|으렴|렴)/EF ",
    r"시/EP (?:지요|죠)/EF ",
    r"어/EC 보/VX "
    + ACT
    + r"(?!시/EP |었/EP |ㄴ/ETM |니/E|니까/E|으니|어도/EC|어야/EC (?!하|되)|는데|"
    r"라고|라는|라며|라니)",
    r"어/EC 주/VX (?:시/EP )?(?:어|어요|ㄹ래|ㄹ래요|길)/E",
    r"(?:부르|누르|걸|가|받|알리|들르|찾아가|찾|만나|잡)/VV (?:어|어요)/EF (?!\?)",
    r"(?:전화|연락|신고|예약|신청|방문|문의|시작|상담|요청|얘기|이야기|말|문자|톡)/NNG 하/XSV "
    r"(?:어|어요)/EF (?!\?)",
    r"ㄹ래요?/EF |을래요?/EF ",
    r"기/ETN (?:ㄹ/JKO |를/JKO |도/JX )?(?:꼭/MAG )?(?:바라|권|추천|부탁|희망|원하|제안)",
    r"지/EC 그래/IC",
    r"(?:가|받|하|보)/V\w (?:으라|라)/EC |(?:가|받|하|보|찾)/\w+ (?:시|으시)/EP 어요/EF (?!\?)",
    r"기/ETN (?:ㄹ/JKO |를/JKO )?(?:\S+/S[FPSWOYE]\w* )*$",
    r"같이/MAG (?:\S+ ){1,3}?(?:ㄹ까|을까)",
)
# A helper acts, is needed, is advised or can be reached.
OFFER = (
    r"어야/EC (?:하|되)/V\w " + ACT + r"(?!어서|느라|었|ㄹ지|ㄹ까|나/|는지|는데|는군|니까|다니|"
    r"는/ETM (?:것|거)/NNB \S+ 아니|ㄹ/ETM \S+ \S+ 아니)",
    r"어야(?:죠|지|지요|겠다)?/EF |어야/EC 겠|어야겠/",
    r"는/ETM (?:것|거|쪽|편|방법)/NN\w "
    + GAP % 5
    + r"(?:어떻|좋/VA (?!지/)|필요|중요|안전|방법|낫|먼저|우선|추천|권|제안|현명|시급|바람직|"
    r"맞/VV|원/NNG 하|원하)",
    r"는/ETM (?:길|방법|데|곳)/NN\w (?:도|이|가)/J\w+ 있/",
    r"(?:면|는다면|ㄴ다면)/EC (?:\S+/MAG )?"
    r"(?:어떻|좋/VA (?!지/)|되/VV|하/V\w ㅂ니다|괜찮|낫|나아지)",
    r"달/VX 라고/EC (?:하/VV (?:어|어요|세요)/E|부탁)",
    r"었/EP 으면/EC (?:좋|하|싶)",
    r"(?:으?면|는다면|ㄴ다면)/EC " + GAP % 8 + r"[ㄹ을]/ETM (?:것|거)/NNB (?:이/VCP|같)",
    r"(?:최고|최선|정답|첫걸음|먼저|우선)/NNG 이/VCP",
    r"(?:안/MAG \S+|지/EC 않/VX) 으?면/EC (?:\S+ ){0,2}?(?:안/MAG 되|위험|나쁘|큰일)",
    r"(?:상의|상담)/NNG 없이/MAG ",
    r"잘/MAG 되/VV (?:는/ETM 병|어요|ㅂ니다)",
    r"(?:괜찮|좋)/VA 은/ETM (?:선택|방법|생각|수)/NN",
    r"(?:용기|지혜|권리)/NNG 이/VCP ",
    r"(?:부끄럽|창피|이상|나약|나쁘|약하|특별)\S* (?:\S+ ){0,4}?아니/VCN",
    r"도/JX 좋/VA (?:습니다|어요|어/|지요|고)",
    r"(?:으?라고|기를)/EC (?:\S+ ){1,5}?고/EC 싶/VX",
    r"어도/EC (?:되|괜찮|좋)",
    r"[ㄹ을]/ETM 수/NNB (?:\S+/JX )?있/V\w (?!었|어서|는데|다니|는군|구나|나요|을까|는지)",
    r"필요/NNG (?:하|되|로)\S+ (?!(?:시/EP )?면/EC|지/EC|었|ㄹ까|ㄹ지|ㄴ지|다고/EC 느끼)",
    r"필요/NNG 이/VCP",
    r"(?:권|추천|제안|권유|권장)/NNG (?:하/XSV |드리/VV )(?!었|는/ETM|어서|ㄴ/ETM)",
    r"권하/VV (?!었|는/ETM|어서|ㄴ/ETM)",
    r"(?:도움|힘)/NNG (?:이/J\w+ |도/JX |을/JKO )?(?:되|주)/VV " + ACT + r"(?!지|었|ㄴ/ETM|나)",
    r"(?:주|드리)/V\w " + ACT + r"(?:ㅂ니다|어요|어/EF|니까|ㄹ/ETM (?:것|거)|ㄹ게|ㄹ까|겠|"
    r"는/ETM (?:곳|데|분|사람|전문가|기관)/)",
    r"(?:도와주|돕)/V\w (?!었|ㄴ/ETM|어서|지/EC)" + ACT,
    r"(?:가능/NNG 하|무료/NNG (?:이|로)|열리/VV 어/EC 있|운영/NNG|대기/NNG 하|기다리/VV 고/EC 있)",
    r"이/VCP 라는/ETM (?:데|곳|것|거)/NN\w (?:이|가|도)/J\w+ 있/V\w (?!었)",
)
# The same, right after the helper: "쉼터도 있어요", "응급실로!".
OFFER_AT_ONCE = (
    r"(?:들/XSN )?(?:도|이|가)/J\w+ 있/V\w (?:습니다|어요|어/EF|으니|답니다|거든|을/ETM 거)",
    r"으?로/JKB [.!]+/SF ",
)
# The same, before the helper and a copula: "제일 필요한 건 상담이에요".
OFFER_BEFORE = (
    r"(?:필요/NNG 하/XSA ㄴ/ETM|추천/NNG 하/XSV 는/ETM|좋/VA 은/ETM) (?:것|거|방법|일)/NN\w \S+ "
    r"(?:\S+ ){0,4}$"
)

# What makes a helper a mention only.
MENTION = (
    r"그러/VV ",
    r"었/EP ",
    r"\S+/(?:VV|XSV|VX) (?:시/EP |으시/EP )?(?:ㄴ|은|던)/ETM ",
    r"던/ETM ",
    r"(?:받|기다리|있)/V\w (?:시/EP )?는/ETM "
    r"(?!것|거|쪽|편|방법|길|데|곳|일|법|선택|용기)\S+/NN",
    r"는/ETM (?:것|거)/NNB 보다/JKB",
    r"(?:안|못)/MAG ",
    r"지/EC (?:\S+/JX )?(?:말|않|못하|마)/V",
    r"(?:없|소용없|필요없|싫)/VA ",
    r"[ㄹ을]/ETM \S+/NN\w (?:\S+/J\w+ )*(?:아니/VCN|없)",
    r"어야/EC 하/VX 는/ETM (?:것|거)/NNB (?:\S+/J\w+ )?아니/VCN",
    r"\S*(?:군|군요|구나|네|네요|다니|라니|던가요|냐|느라|느라고|잖아|잖아요|대|대요)/E\w ",
    r"(?:나요|ㄴ가요|은가요|니|시/EP 어요|세요|으세요)/EF \?",
    r"(?:라고|으라고|자고|다며|라며)/E\w |(?<!이/VCP )(?:으)?라는/ETM ",
    r"[ㄹ을]지/E\w ",
    r"(?:계시|다니|다녀오|실리|갔다오|잡혀가|끌려가|마치|끝나|끝내|그만두)/V\w ",
    r"일/NNG (?:을/JKO )?하/XSV |(?:봉사|장난|낭비)/NNG ",
    r"(?:꿈|장래)/NNG |시험/NNG ",
    r"말고/J|말/VX 고/",
    r"타/VV ",
    r"(?:저|나)/NP (?:가|는|도)/J\w+ (?!(?:\S+ ){0,6}?(?:찾|알|연결|안내|소개|보내))",
)
# The same, right after the helper.
NO_HELPER = (
    r"(?:이|가|은|는|도|까지)/J\w+ (?:는/JX )?(?:\S+/MAG )?아니/VCN",
    r"[이가]/JK\w 되/VV",
    r"이/VCP (?!라면|라는|라도|든|나|ㄴ데)",
    r"같/VA 은/ETM (?!곳|데|기관|전문)",
    r"이/VCP 라는/ETM (?:직업|말|꿈|이름|라디오|책|드라마|영화|노래|게임|방송|프로)",
    r"로서/|라고/|때문/|만큼/|보다/JKB",
    r"로/JKB (?:일|인정|살|지내)",
    r"에/JKB (?:계시|있)/",
    r"중/NNB (?:이/VCP|에)",
    r"에서/JKB (?:는/JX )?(?:\S+ ){0,3}?(?:다고|라고)/",
)
# Experts in general, or somebody who is like one: "전문가들은 말해요", "전문가처럼".
OPINION = (r"들/XSN (?:은|도)/JX ", r"(?:처럼|같이)/JKB ")
# "망설이지 말고 전화하세요" advises: what is not to be done is to hesitate. And whether somebody
# has been there before decides nothing.
LEFT_OUT = (
    r"안/MAG \S+ (?:어/EC 보/VX )?(?:시/EP )?었/EP (?:다면|으면)/EC ",
    r"지/EC 않/VX (?:으시/EP |시/EP )?었/EP (?:다면|으면)/EC (?!하|좋|싶)",
    r"(?:(?:망설이|미루|참|잊|끊|버티|견디|넘기|무시하|겁내|꺼리|숨기|"
    r"두려워하|부끄러워하|어려워하|무서워하)/VV |"
    r"(?:주저|걱정|포기|부담|고민)/NNG \S+ |(?:부끄럽|어렵|두렵|무섭)/VA 어/EC 하/VX )"
    r"(?:어/EC 하/VX )?지/EC (?:말|않)/VX (?:(?:시/EP )?고/EC )?",
    r"ㄴ/ETM 적/NNB (?:이/JKS )?(?:없|있)/V\w (?:으시/EP )?"
    r"(?:다면|으면|더라도|어도|다고/EC 하/VX 어도)/EC ",
)
