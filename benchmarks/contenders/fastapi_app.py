"""A common alternative: FastAPI, pydantic, async SQLAlchemy, asyncpg. Same columns and indexes, but no `seq`."""

import hashlib
import os
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, DateTime, ForeignKey, Index, String, insert, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# By default asyncpg prepares and caches every statement. 20 connections are those of a large pool.
engine = create_async_engine(
    f"postgresql+asyncpg://postgres@127.0.0.1/{os.environ['BENCH_DATABASE']}", pool_size=20, max_overflow=0
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Device(Base):
    __tablename__ = "device"
    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    api_key_hash: Mapped[str] = mapped_column(String(128), unique=True)


class Reading(Base):
    __tablename__ = "reading"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    device_id: Mapped[str] = mapped_column(ForeignKey("device.device_id"))
    timestamp: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    temperature: Mapped[float | None]
    humidity: Mapped[float | None]
    voltage: Mapped[float | None]
    extra: Mapped[dict] = mapped_column(JSON().with_variant(JSONB, "postgresql"))
    __table_args__ = (Index("reading_device_time", "device_id", "timestamp"),)


class ReadingIn(BaseModel):
    model_config = ConfigDict(extra="allow")
    temperature: float | None = None
    humidity: float | None = None
    voltage: float | None = None


class ReadingOut(BaseModel):
    id: uuid.UUID
    device_id: str
    timestamp: datetime


@asynccontextmanager
async def lifespan(_app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as session:
        if not (await session.execute(select(Device).limit(1))).first():
            with open(os.environ["BENCH_KEYS"]) as file:
                pairs = [line.split() for line in file]
            rows = [{"device_id": n, "api_key_hash": hashlib.sha256(k.encode()).hexdigest()} for n, k in pairs]
            await session.execute(insert(Device), rows)
            await session.commit()
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)


async def session():
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]


async def device(session: Session, x_api_key: Annotated[str, Header()]) -> Device:
    digest = hashlib.sha256(x_api_key.encode()).hexdigest()
    found = (await session.execute(select(Device).where(Device.api_key_hash == digest))).scalar_one_or_none()
    if found is None:
        raise HTTPException(401)
    return found


def values(reading: ReadingIn, device_id: str) -> dict:
    return {
        "id": uuid.uuid4(),
        "device_id": device_id,
        "timestamp": datetime.now(UTC),
        "temperature": reading.temperature,
        "humidity": reading.humidity,
        "voltage": reading.voltage,
        "extra": reading.model_extra or {},
    }


@app.get("/health")
async def health() -> dict:
    return {"status": "ok"}


@app.post("/readings", status_code=201)
async def create(body: ReadingIn, session: Session, device: Annotated[Device, Depends(device)]) -> ReadingOut:
    reading = Reading(**values(body, device.device_id))
    session.add(reading)
    await session.commit()
    return ReadingOut(id=reading.id, device_id=reading.device_id, timestamp=reading.timestamp)


@app.post("/readings/batch", status_code=201)
async def create_batch(body: list[ReadingIn], session: Session, device: Annotated[Device, Depends(device)]) -> dict:
    await session.execute(insert(Reading), [values(reading, device.device_id) for reading in body])
    await session.commit()
    return {"accepted": len(body)}
